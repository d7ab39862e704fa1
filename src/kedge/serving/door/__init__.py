"""The data plane's door for HTTP: a raw ASGI application over whatever answers, and the connection that carries it."""
