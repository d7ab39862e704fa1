"""Names for runs and models that nobody named: two words and a number, easy to say and to tell apart."""

import secrets

_HOW = """
amber bold brisk calm clear clever crisp daring deft eager early fair fleet gentle glad golden grand hardy humble keen
kind late light lively lucid mellow merry mild neat noble patient plain proud quick quiet rapid ready serene sharp
silver sleek smooth snug sober solid spry steady still stout sturdy subtle sunny swift tidy tranquil trim vivid warm
wise
"""
_WHO = """
auk badger bee bison bittern crane curlew deer dipper dove dunlin eagle egret falcon finch fox gannet grebe grouse
gull hare hawk heron hoopoe ibis jay kestrel kite lapwing lark linnet lynx magpie marten merlin moth newt nuthatch
oriole osprey otter owl petrel pipit plover puffin quail raven robin rook seal shrike siskin snipe stoat stork swan
tern thrush vole wagtail warbler wren
"""


def made_up() -> str:
    """Make a name up."""
    return f"{secrets.choice(_HOW.split())}-{secrets.choice(_WHO.split())}-{secrets.randbelow(1000)}"
