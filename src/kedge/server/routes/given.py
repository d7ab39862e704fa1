"""What routes are given. A protocol cannot be checked at run time, so the house is taken as it comes."""

from typing import Annotated

from litestar.params import Dependency

from kedge.server.guard import Guard
from kedge.server.house import House
from kedge.server.reading.scene import Scenes
from kedge.server.stream import Pulse
from kedge.web.render import Pages

TheHouse = Annotated[House, Dependency(skip_validation=True)]
TheScenes = Annotated[Scenes, Dependency(skip_validation=True)]
ThePages = Annotated[Pages, Dependency(skip_validation=True)]
ThePulse = Annotated[Pulse, Dependency(skip_validation=True)]
TheGuard = Annotated[Guard, Dependency(skip_validation=True)]
