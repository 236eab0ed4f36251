"""Knowledge against data, before a student trains: silent misalignment is the commonest bug in distillation."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from limbeck.data import Part
from limbeck.errors import LimbeckError, UsageError
from limbeck.knowledge.store import Knowledge, Recording
from limbeck.teachers import Teacher, answers_about, own_answers, own_answers_by_content
from limbeck.teachers.protocol import Known

# Agreement must beat the best renaming of the classes within this, in rows of a hundred.
CLEARLY = 0.05
# Log-probabilities of one row asked in another batch, rounded to float16.
TOLERANCE = 0.05


def check_knowledge(knowledge: Knowledge, part: Part, where: str) -> None:
    """Refuse knowledge that cannot be this part's.

    Compared are the part's hash, the classes, and the teacher's class with the labels: agreement must be better
    than two independent guesses with these class frequencies (Σ p_c·q_c), and no renaming of the classes
    (Hungarian algorithm) may raise it clearly.

    Args:
        knowledge: for every row of the part, in its order.
        part: the rows that a student is about to train on; unlabelled rows are left out of the comparison.
        where: what the message calls the knowledge, such as its folder.

    Raises:
        LimbeckError: saying what does not fit.
    """
    recorded_for = knowledge.description.get("part")
    if knowledge.rows != len(part):
        recorded = f" (part {recorded_for[:6]})" if recorded_for else ""
        raise LimbeckError(
            f'{where} was recorded for {knowledge.rows} rows{recorded}, but this data set\'s part "{part.name}" has '
            f"{len(part)} rows ({part.inputs_hash[:6]}): run `limbeck extract` again, or set data.source to the set "
            "it was recorded for"
        )
    if recorded_for not in (None, part.inputs_hash):
        raise LimbeckError(
            f"{where} was recorded for other inputs (part {recorded_for[:6]}) than this data set's "
            f'part "{part.name}" ({part.inputs_hash[:6]}): run `limbeck extract` again, or set data.source to the '
            "set it was recorded for"
        )
    if knowledge.classes != part.classes:
        raise LimbeckError(
            f"{where} has the classes {', '.join(knowledge.classes[:12])}, but the data has "
            f"{', '.join(part.classes[:12])}: they must be the same, in the same order"
        )
    labelled = part.labels >= 0
    if labelled.any():
        check_agreement(knowledge.log_probs()[labelled].argmax(axis=1), part.labels[labelled], part.classes, where)


def check_agreement(
    teacher_classes: npt.NDArray[Any], labels: npt.NDArray[Any], classes: tuple[str, ...], where: str
) -> None:
    """Refuse a teacher's classes that agree with the labels no better than chance, or better when renamed.

    Args:
        teacher_classes: shape (n,), the teacher's class for each labelled row.
        labels: shape (n,).
        classes: the classes' names.
        where: what the message calls the knowledge.

    Raises:
        LimbeckError: saying how well they agree, and how well at best.
    """
    from scipy.optimize import linear_sum_assignment

    k, n = len(classes), len(labels)
    table = np.zeros((k, k))
    np.add.at(table, (teacher_classes, labels), 1 / n)
    agreement = float(np.trace(table))
    chance = float(table.sum(axis=1) @ table.sum(axis=0))
    # One class everywhere agrees exactly as chance would: nothing can be told from that.
    deviation = float(np.sqrt(max(chance * (1 - chance), 1e-12) / n))
    by_chance = chance < 1 - 1e-9 and agreement <= chance + 2 * deviation and agreement < 1 - 1e-9
    renamed, original = linear_sum_assignment(-table)
    best = float(table[renamed, original].sum())
    # Of rows out of order, and of a teacher that has learnt nothing, some naming agrees better than another, too.
    explains = not by_chance or best > (1 + table.sum(axis=0).max()) / 2
    if explains and best > agreement + max(CLEARLY, 3 * deviation):
        moved = [f"{classes[a]}→{classes[b]}" for a, b in zip(renamed, original, strict=True) if a != b]
        raise LimbeckError(
            f"{where}: the teacher agrees with the labels on {agreement:.1%} of {n} rows, but on {best:.1%} if its "
            f"classes are renamed ({', '.join(moved[:6])}): the order of the classes differs; give them in the order "
            "of its answers (of a Hugging Face model, by id2label and label2id in its config.json)"
        )
    if by_chance:
        raise LimbeckError(
            f"{where}: the teacher agrees with the labels on {agreement:.1%} of {n} rows, and chance would give "
            f"{chance:.1%}: rows or classes are misaligned, this is no teacher for these data, or it has learnt nothing"
        )


def own_about(teacher: Teacher, recording: Recording, part: Part) -> Known | None:
    """What a teacher says unseen about those of a part's rows that it was fitted to; nothing of altered ones.

    Args:
        teacher: the one that is recorded.
        recording: says in which view, and how its rows are known.
        part: its rows, or some of them.
    """
    if recording.view:
        return None
    if not recording.by_content:
        return own_answers(teacher, part)
    try:
        return own_answers_by_content(teacher, part)
    except UsageError:  # it knows its rows by their ids, which these are not
        return None


def spot_check(
    teacher: Teacher,
    knowledge: Knowledge,
    recording: Recording,
    pixels: npt.NDArray[Any] | None,
    where: str,
    rows: int = 16,
) -> None:
    """Ask the teacher again about a few rows, spread over the part, and compare with what is stored.

    Args:
        teacher: the one that the knowledge was recorded from.
        knowledge: in one view.
        recording: says which rows and view.
        pixels: the inputs in that view, shape (rows, …); made anew for these few rows where they are not at hand.
        where: what the message calls the knowledge.
        rows: how many to ask about.

    Raises:
        LimbeckError: naming the first row whose answer is another.
    """
    chosen = np.unique(np.linspace(0, len(recording.part) - 1, rows).round().astype(np.int64))
    asked = recording.pixels_of(chosen) if pixels is None else pixels[chosen]
    own = own_about(teacher, recording, recording.part.take(chosen))
    again = np.exp(answers_about(teacher, asked, own))
    stored = np.exp(knowledge.log_probs()[chosen].astype(np.float32))
    off = np.abs(again - stored).max(axis=1) > TOLERANCE
    if off.any():
        row = int(recording.part.ids[chosen[np.argmax(off)]])
        raise LimbeckError(
            f"{where}: asked again about row {row}, the teacher answers otherwise than is stored: the knowledge is "
            "another teacher's or other data's; delete it to record it anew"
        )
