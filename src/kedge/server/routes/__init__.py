"""The native API, one module per noun, and the pages. A route is decode, authorize, one use case, encode."""
