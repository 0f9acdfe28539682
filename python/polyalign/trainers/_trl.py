"""Everything that is taken from TRL: what another version of it moves is mended here."""

from __future__ import annotations

import warnings

import trl
from packaging.version import Version

__all__ = [
    "DPOConfig",
    "DPOTrainer",
    "DatasetMixtureConfig",
    "DistributedBackend",
    "ModelConfig",
    "SFTConfig",
    "SFTTrainer",
    "ScriptArguments",
    "TrlParser",
    "check_trl",
    "create_model_from_path",
    "extract_prompt",
    "get_dataset",
    "get_dataset_column_names",
    "get_peft_config",
    "get_quantization_config",
    "global_then_local_main_first",
    "ignore_old_names",
    "pack_dataset",
    "pad",
    "unwrap_model_for_generation",
]

#: The first version that works, and the first that was not tested.
_TESTED = (Version("1.16"), Version("1.17"))


def check_trl(version: str = trl.__version__) -> None:
    """Raise an ImportError where TRL is none that the trainers were tested with."""
    low, high = _TESTED
    if not low <= Version(version) < high:
        raise ImportError(
            f"trl {version}: the trainers work with trl {low} and later, below {high}: pip install 'trl>={low},<{high}'"
        )


def ignore_old_names() -> None:
    """Keep transformers' warnings of names that TRL, not the user, takes from before transformers 5 from the screen."""
    old = r"`(is_)?gradient_checkpointing(_enable|_disable)?` is deprecated"
    warnings.filterwarnings("ignore", old, FutureWarning)


ignore_old_names()
check_trl()  # before names that another version has elsewhere are asked for

from trl import (  # noqa: E402
    DatasetMixtureConfig,
    DPOConfig,
    DPOTrainer,
    ModelConfig,
    ScriptArguments,
    SFTConfig,
    SFTTrainer,
    TrlParser,
    get_dataset,
    get_peft_config,
    get_quantization_config,
)
from trl.data_utils import extract_prompt, get_dataset_column_names, pack_dataset  # noqa: E402
from trl.distributed import DistributedBackend  # noqa: E402
from trl.models import unwrap_model_for_generation  # noqa: E402
from trl.trainer.utils import create_model_from_path, global_then_local_main_first, pad  # noqa: E402
