"""A registry that looks at what is registered in it; nothing here imports a training library."""

from functools import partial

from tests.unit.evaluation.toys import Clock, Tables

from kedge.adapters.jobs import InlineRunner
from kedge.domain.trust import Trust
from kedge.evaluation.load import ModelLoader
from kedge.evaluation.room import Evaluation
from kedge.job import FORMATS, FORMS, examine_job, prepare_job, tensor_formats
from kedge.registry.examining import Examiner
from kedge.registry.room import Registry
from kedge.storage.blobs.chunks import ChunkStore
from kedge.storage.sql import open_store

NOBODY = Trust()


def registry_of(store, blobs, trust=NOBODY):
    loader = ModelLoader(blobs=blobs, formats=FORMATS, tensors=tensor_formats(lambda: trust), forms=FORMS)
    evaluation = Evaluation(blobs=blobs, loader=loader, events=store.events, clock=Clock())
    examiner = Examiner(
        jobs=InlineRunner(), blobs=blobs, clock=Clock(), execute=examine_job, prepare=partial(prepare_job, trust)
    )
    registry = Registry(
        models=store.models, blobs=blobs, tables=Tables(), evaluation=evaluation, clock=Clock(), examiner=examiner
    )
    return registry, evaluation


def opened(folder):
    store = open_store(f"sqlite:///{folder / 'store.db'}")
    return registry_of(store, ChunkStore(folder, store.chunks))
