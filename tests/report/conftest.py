"""A small run on the bundled digits, with real predictions, in the shape that the report is given."""

import copy
import warnings
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC

from limbeck import metrics
from limbeck.ensembles import ensemble_facts
from limbeck.familiarity import part_facts
from limbeck.report import render_report
from limbeck.rows import model_id

CLASSES = tuple("0123456789")
TEACHER, STUDENT, BASELINE = "teacher/svm", "student/linear-temperature=4", "baseline/linear"
WARMER = "student/linear-temperature=8"


def _row(
    role: str, name: str, log_probs: np.ndarray, beside: np.ndarray, labels: np.ndarray, **given: Any
) -> dict[str, Any]:
    parameters = 29_000 if role == "teacher" else 650
    row: dict[str, Any] = {
        "role": role,
        "name": name,
        "data": None,
        "variant": {},
        "teacher": None,
        "transfer": None,
        "parameters": parameters,
        "bytes": 4 * parameters + 1100,
        "multiply_adds": parameters - 10,
        "accuracy": metrics.accuracy(log_probs, labels),
        "errors": metrics.errors(log_probs, labels),
        "nll": metrics.nll(log_probs, labels),
        "ece": metrics.ece(log_probs, labels),
        "agreement": None if role == "teacher" else metrics.agreement(log_probs, beside),
        "latency_ms": 0.2 if role == "teacher" else 0.04,
        "examples_per_second": 21_500.0,
        "train_seconds": 75.2,
        "trials": 1,
        "metrics": {},
        "gap_recovered": None,
        "p_value": None,
        "verdict": None,
    }
    return row | given


def _history(first: float, last: float, epochs: int) -> dict[str, Any]:
    return {
        "epochs": [
            {
                "epoch": epoch,
                "loss": 2.0 / epoch,
                "learning_rate": 0.001,
                "validation_accuracy": last + (first - last) / epoch**2,
                "validation_nll": 1.0 / epoch,
            }
            for epoch in range(1, epochs + 1)
        ],
        "kept_epoch": epochs - 1,
    }


@pytest.fixture(scope="session")
def _run() -> dict[str, Any]:
    digits = load_digits()
    inputs = digits.images.astype(np.uint8)
    flat, labels = digits.data / 16, digits.target.astype(np.int64)
    few, train = slice(0, 90), slice(0, 1000)
    test_labels, test = labels[1000:], flat[1000:]
    kernel = SVC(gamma=0.3).fit(flat[train], labels[train])
    scores = LogisticRegression(max_iter=300).fit(kernel.decision_function(flat[train]), labels[train])
    taught = kernel.predict(flat[train])
    found = {
        TEACHER: scores.predict_log_proba(kernel.decision_function(test)),
        STUDENT: LogisticRegression(max_iter=300).fit(flat[train], taught).predict_log_proba(test),
        WARMER: LogisticRegression(C=0.05, max_iter=300).fit(flat[train], taught).predict_log_proba(test),
        BASELINE: LogisticRegression(max_iter=300).fit(flat[few], labels[few]).predict_log_proba(test),
    }
    predictions = {model: log_probs.astype(np.float32) for model, log_probs in found.items()}
    right = {model: p.argmax(axis=1) == test_labels for model, p in predictions.items()}
    best, base = right[TEACHER].mean(), right[BASELINE].mean()

    def student(model: str, temperature: float) -> dict[str, Any]:
        p = metrics.mcnemar_exact(right[model], right[BASELINE])
        return _row(
            "student",
            "linear",
            predictions[model],
            predictions[TEACHER],
            test_labels,
            variant={"temperature": temperature},
            teacher="svm",
            transfer="train",
            gap_recovered=metrics.gap_recovered(right[model].mean(), base, best),
            p_value=p,
            verdict=metrics.verdict(right[model].mean(), base, p),
        )

    rows = [
        _row("teacher", "svm", predictions[TEACHER], predictions[TEACHER], test_labels),
        student(STUDENT, 4.0),
        _row("baseline", "linear", predictions[BASELINE], predictions[TEACHER], test_labels),
        student(WARMER, 8.0),
    ]
    versions = {"limbeck": "0.1.0", "torch": "2.13.0", "numpy": "2.0.0"}
    return {
        "results": {"recipe": "digits", "seed": 0, "versions": versions, "models": rows},
        "run": {
            "recipe": "digits",
            "command": "limbeck run digits --out runs/digits --seed 0",
            "seed": 0,
            "versions": versions,
            "threads": 2,
            "precision": {TEACHER: "float32", STUDENT: "float32"},
            "parts": {TEACHER: "3f9a1c" * 10, "knowledge/svm/train": "77ab02" * 10},
        },
        "predictions": predictions,
        "histories": {
            TEACHER: _history(0.9, 0.985, 6),
            STUDENT: _history(0.5, 0.97, 9),
            BASELINE: _history(0.5, 0.91, 9),
        },
        "test_inputs": inputs[1000:],
        "test_labels": test_labels,
        "classes": CLASSES,
    }


@pytest.fixture
def example(_run: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `render_report`, to change at will."""
    return copy.deepcopy(_run)


@pytest.fixture(scope="session")
def html(_run: dict[str, Any]) -> str:
    """The page of the example."""
    return render_report(**copy.deepcopy(_run))


MEMBERS = 10


def _mlp(inputs: np.ndarray, labels: np.ndarray, seed: int) -> MLPClassifier:
    return MLPClassifier((24,), learning_rate_init=0.005, max_iter=150, random_state=seed).fit(inputs, labels)


def _said(model: MLPClassifier, inputs: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(model.predict_proba(inputs), 1e-7)).astype(np.float32)


@pytest.fixture(scope="session")
def _ensemble_run() -> dict[str, Any]:
    """Ten small nets of 150 labelled rows, and a student that their mean taught on rows without labels."""
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.data))
    inputs, labels = digits.images[order].astype(np.uint8), digits.target[order].astype(np.int64)
    flat = digits.data[order] / 16
    labelled, validation, unlabelled, test = (
        slice(0, 150),
        slice(150, 350),
        slice(350, 1000),
        slice(1000, None),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        nets = [_mlp(flat[labelled], labels[labelled], seed) for seed in range(MEMBERS)]

        def combined(rows: np.ndarray, count: int = MEMBERS) -> np.ndarray:
            mean = np.mean([np.exp(_said(net, rows)) for net in nets[:count]], axis=0)
            return np.log(mean).astype(np.float32)

        taught = combined(flat[unlabelled]).argmax(axis=1)
        student = _mlp(
            np.concatenate([flat[labelled], flat[unlabelled]]), np.concatenate([labels[labelled], taught]), 0
        )
        plain = _mlp(flat[labelled], combined(flat[labelled]).argmax(axis=1), 3)
        alone = _mlp(flat[labelled], labels[labelled], 11)
    test_labels = labels[test]
    predictions = {model_id("reference", "single", {"member": k}): _said(n, flat[test]) for k, n in enumerate(nets, 1)}
    names = list(predictions)
    few, every = model_id("teacher", "ensemble", {"members": 2}), "teacher/ensemble"
    predictions[every], predictions[few] = combined(flat[test]), combined(flat[test], 2)
    variants = ({"unlabelled": True}, {"unlabelled": False})
    for variant, model in zip(variants, (student, plain), strict=True):
        predictions[model_id("student", "mlp", variant)] = _said(model, flat[test])
    predictions["baseline/mlp"] = _said(alone, flat[test])

    def row(role: str, name: str, variant: dict[str, Any], **given: Any) -> dict[str, Any]:
        said = predictions[model_id(role, name, variant)]
        return _row(role, name, said, predictions[every], test_labels, variant=variant, **given)

    learnt = {"teacher": "ensemble", "transfer": "train", "p_value": 0.001, "verdict": "helps", "gap_recovered": 0.8}
    rows = [
        row("teacher", "ensemble", {}),
        row("teacher", "ensemble", {"members": 2}),
        *(row("student", "mlp", variant, **learnt) for variant in variants),
        row("baseline", "mlp", {}),
        *(row("reference", "single", {"member": k}) for k in range(1, MEMBERS + 1)),
    ]
    sides = [predictions[name] for name in names]
    scrambled = np.random.default_rng(1).permuted(flat[unlabelled], axis=1)

    def part(name: str, rows: np.ndarray, of: np.ndarray, kept: int | None = None) -> dict[str, Any]:
        facts = part_facts(
            combined(rows),
            of,
            validation=combined(flat[validation]),
            validation_labels=labels[validation],
            members=[_said(net, rows) for net in nets],
            validation_members=[_said(net, flat[validation]) for net in nets],
            kept=kept,
        )
        return {"transfer": "train", "part": name, "teacher": every, **facts}

    none = np.full(650, -1)
    return {
        "results": {
            "recipe": "ensemble",
            "seed": 0,
            "versions": {"limbeck": "0.1.0"},
            "models": rows,
            "ensembles": {
                every: {**ensemble_facts(sides, predictions[every], test_labels), "rows": names},
                few: {**ensemble_facts(sides[:2], predictions[few], test_labels), "rows": names[:2]},
            },
            "parts": [
                part("labelled", flat[labelled], labels[labelled]),
                part("unlabelled", flat[unlabelled], none),
                part("file:scrambled.npz", scrambled, none, kept=31),
            ],
        },
        "run": {
            "recipe": "ensemble",
            "command": "limbeck run ensemble",
            "seed": 0,
            "versions": {"limbeck": "0.1.0"},
            "threads": 2,
            "precision": {},
            "parts": {},
        },
        "predictions": predictions,
        "histories": {},
        "test_inputs": inputs[test],
        "test_labels": test_labels,
        "classes": CLASSES,
    }


@pytest.fixture
def ensemble_example(_ensemble_run: dict[str, Any]) -> dict[str, Any]:
    """The arguments of `render_report` for a run with an ensemble, to change at will."""
    return copy.deepcopy(_ensemble_run)
