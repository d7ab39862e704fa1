"""What a job's process runs, the formats that it may keep a model in, and the forms that it may compile one to.

The composition root of that process alone: it gets its rows as a matrix, so it imports no frames and no SQL, and holds 60
MiB less than the house beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from kedge.adapters.lightgbm.format import LightgbmFormat
from kedge.adapters.onnx.format import OnnxFormat
from kedge.adapters.onnx.trees import OnnxForm
from kedge.adapters.package.format import PackageFormat
from kedge.adapters.project import FolderProject
from kedge.adapters.sklearn.format import SklearnFormat
from kedge.adapters.torch.format import TorchFormat
from kedge.adapters.treelite.form import TreeliteForm
from kedge.adapters.xgboost.format import XgboostFormat
from kedge.domain.trust import Trust
from kedge.errors import ModelRefused
from kedge.evaluation.parity import Examined, ToExamine, examine
from kedge.pipelines.run import Made, Work, make
from kedge.ports import CompiledForm, ModelFormat, TensorFormat
from kedge.security.signing import verify

if TYPE_CHECKING:
    from kedge.registry.preparing import Prepared

# the boosters' scikit-learn wrappers are estimators as well: their own formats are asked first
_XGBOOST, _LIGHTGBM, _SKLEARN = XgboostFormat(), LightgbmFormat(), SklearnFormat()
FORMATS: tuple[ModelFormat, ...] = (_XGBOOST, _LIGHTGBM, _SKLEARN)
TENSORS: tuple[TensorFormat, ...] = (OnnxFormat(), TorchFormat(), _XGBOOST, _LIGHTGBM, _SKLEARN)
"""The formats of models that answer named arrays."""
KEPT: tuple[ModelFormat | OnnxFormat, ...] = (*FORMATS, OnnxFormat())
"""The formats that a model in memory is kept in, by the first that accepts it."""
FORMS: tuple[CompiledForm, ...] = (OnnxForm(), TreeliteForm())
"""The compiled forms, the fastest first."""


def train_job(project_root: str, reference: str, work: Work) -> Made:
    """Load the project's pipeline and run it."""
    pipeline = FolderProject(Path(project_root)).load(reference) if reference else None
    return make(pipeline, work, formats=FORMATS)


def tensor_formats(trust: Callable[[], Trust]) -> tuple[TensorFormat, ...]:
    """Give the formats of models that answer named arrays: signed packages too, as far as they are trusted then."""
    return (PackageFormat(trust, verify), *TENSORS)


def prepare_job(trust: Trust, files: Mapping[str, bytes]) -> Prepared | str:
    """Look at a folder that is to be served; a refusal is given as its words."""
    from kedge.registry.preparing import prepare  # here, not above: it reads example rows as frames, which no training needs

    package = PackageFormat(lambda: trust, verify)
    try:
        found = prepare(files, formats=FORMATS, tensors=(package, *TENSORS), forms=FORMS)
        return replace(found, signer=package.signer(found.files)) if found.format == package.name else found
    except ModelRefused as error:
        return str(error)


def examine_job(asked: ToExamine) -> Examined:
    """Look at a model that is being registered, and compile it."""
    return examine(asked, formats=FORMATS, forms=FORMS)
