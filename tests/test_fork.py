"""Threads: those of the process, as many as asked for, and made anew after a fork."""

from __future__ import annotations

import importlib
import inspect
import multiprocessing
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import computations
import polyalign
from conftest import clean_environment
from polyalign import distances

NAMES = (
    """count assign bucket_files bucket_files_reference extract extract_paper Reference.build Reference.from_arrow
Reference.merge Reference.resolve Reference.describe Reference.to_arrow Reference.diff Reference.plot Reference.quantile
Reference.cdf Reference.support Reference.support_distance Reference.score Reference.explain
Reference.score_files SupportCritic.score SupportCritic.percentile
LexicalCritic.build LexicalCritic.from_arrow LexicalCritic.merge LexicalCritic.score LexicalCritic.percentile
LexicalCritic.features LexicalCritic.surprisal
DiscriminativeCritic.score DiscriminativeCritic.percentile DiscriminativeCritic.evidence DiscriminativeCritic.calibrate
EmbeddingCritic.score EmbeddingCritic.percentile
EnsembleCritic.score EnsembleCritic.percentile EnsembleCritic.percentiles EnsembleCritic.calibrate critics.compare
from_samples from_preferences
DistributionTerm.measure DistributionTerm.compare DistributionTerm.score DistributionTerm.energy rewards.distribution
detect_languages metrics.bng metrics.length_gap metrics.language_faults
metrics.utility metrics.distinct metrics.self_bleu metrics.self_bleu_of_each metrics.within_prompts metrics.overused
metrics.faults metrics.resampled_sums metrics.mmd
pair_files rewards.support rewards.critic rewards.length rewards.language""".split()
    + distances.__all__
)


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory, tokenizer_file: Path) -> dict[str, Callable[[], Any]]:
    """All of them, each called once: so all threads that are ever used have been started."""
    calls = computations.calls(tmp_path_factory.mktemp("fork"), tokenizer_file)
    for call in calls.values():
        call()
    return calls


# They read through pyarrow, which has a thread of its own.
PAIRS = {"from_samples", "from_preferences", "pair_files"}
# Arithmetic, records and files, and the threads of scikit-learn and of encoders.
ALONE = """HuggingFaceEncoder.tokens NeuralCritic.score NeuralCritic.percentile NeuralCritic.calibrate
EmbeddingCritic.of_sample serving SupportSample.add SupportSample.merge
train to_html worse_than_chance from_json to_json check_fits to_dict faults load from_saved from_bytes
from_pretrained save to_bytes push_to_hub Reference.count ask ask_floored ask_percentiles is_calibrated check_scores
registry example_table reference_schema weight_of bucket_weights gaps language_counts language_of
pair_weights pair_types combine take joined Pool.add Pool.of of
metrics.hcr metrics.hcr_paper metrics.coverage metrics.tails metrics.mauve metrics.match_lengths metrics.tdm
metrics.naturalness metrics.nuf metrics.aggregate metrics.macro
human.build human.analyse human.analyse_files human.krippendorff_alpha human.read_questions Study.key_json
judges.agreement judges.pair_files judges.read_judged judges.read_rubric judges.sampling_of judges.score_files
Rubric.totals
FastDetectGPT.score Binoculars.score ClassifierDetector.score detectors.detect detectors.detection
detectors.joint_score detectors.detect_files detectors.open_detector""".split()


def public() -> Iterator[str]:
    """All public functions, and methods with their class."""
    modules = """buckets critics distances distribution evaluation.detectors evaluation.human evaluation.judges
    evaluation.metrics features pairs reference rewards tokens weights"""
    for name in modules.split():
        module = getattr(polyalign, name, None) or importlib.import_module(f"polyalign.{name}")
        for member in module.__all__:
            value = getattr(module, member)
            if inspect.isclass(value) and not getattr(value, "_is_protocol", False):
                methods = [key for key, of in vars(value).items() if callable(of) or isinstance(of, classmethod)]
                yield from (f"{member}.{method}" for method in methods if not method.startswith("_"))
            elif inspect.isfunction(value):
                yield f"{name.split('.')[-1]}.{member}"


def test_all_are_tried(calls: dict[str, Callable[[], Any]]) -> None:
    assert sorted(calls) == sorted(NAMES)
    known = {*NAMES, *ALONE}
    assert [name for name in public() if name not in known and name.split(".")[1] not in known] == []


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
@pytest.mark.parametrize("name", NAMES)
def test_a_forked_child_has_threads_of_its_own(calls: dict[str, Callable[[], Any]], name: str) -> None:
    if "fork" not in multiprocessing.get_all_start_methods():
        pytest.skip("no fork here")
    child = multiprocessing.get_context("fork").Process(target=calls[name])
    child.start()
    child.join(timeout=60)
    hangs = child.is_alive()
    child.kill()
    assert not hangs
    assert child.exitcode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="threads are listed in /proc")
def test_no_threads_but_those_asked_for(tmp_path: Path, tokenizer_file: Path) -> None:
    """Nothing runs in a pool that takes no notice of POLYALIGN_NUM_THREADS."""
    script = f"""if True:
        import os, sys, time
        from pathlib import Path
        import numpy, pyarrow
        def threads():
            tasks = Path("/proc/self/task").iterdir()
            return {{task.name: (task / "comm").read_text().strip() for task in tasks}}
        before = threads()
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        import computations
        calls = computations.calls(Path({str(tmp_path)!r}), Path({str(tokenizer_file)!r}))
        for name, call in calls.items():
            if name not in {PAIRS}:
                call()
        time.sleep(1)  # the threads of jobs end
        print(*sorted({{name for task, name in threads().items() if task not in before}}))
    """
    environment = clean_environment(POLYALIGN_NUM_THREADS="3", OPENBLAS_NUM_THREADS="1", OMP_NUM_THREADS="1")
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, timeout=300, check=False
    )
    assert done.stderr == ""
    assert done.stdout.split() == ["polyalign-0", "polyalign-1", "polyalign-2"]
