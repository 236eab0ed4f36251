"""Whether a recipe's teachers and students fit together: means, members, and students that teach."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from limbeck.recipe.errors import no_such_part, shown
from limbeck.recipe.student import Student
from limbeck.recipe.teacher import Teacher


class _Named(Protocol):
    @property
    def name(self) -> str: ...


def mean_problems(teachers: Sequence[Teacher]) -> Iterator[str]:
    """What is wrong with the teachers that are the mean of others."""
    names = [part.name for part in teachers]
    means = {part.name for part in teachers if part.of is not None}
    for part in teachers:
        wrong = False
        for name in part.of or []:
            if name not in names:
                wrong = True
                yield f"teacher.{part.name}.of: {no_such_part('teacher', name, names)}"
            elif name in means:
                wrong = True
                yield f"teacher.{part.name}.of: {shown(name)} is a mean itself, expected those that it is of"
        if part.of is None or wrong:
            continue
        if (count := member_count(part, teachers)) < 2:
            yield f"teacher.{part.name}.of: found {shown(part.of)}, expected two teachers or more, or one with members"
        elif isinstance(part.weights, list) and len(part.weights) != count:
            yield f"teacher.{part.name}.weights: found {len(part.weights)}, expected {count}: one for each member"


def member_count(teacher: Teacher, teachers: Sequence[Teacher]) -> int:
    """How many teachers one is: of a mean of others, with the members of these.

    Args:
        teacher: as in the recipe.
        teachers: all of the recipe's.
    """
    return teacher.members or sum(part.members or 1 for part in teachers if part.name in (teacher.of or ())) or 1


def called_problems(teachers: Sequence[Teacher], others: Sequence[_Named]) -> Iterator[str]:
    """What is wrong with the names of members, which are rows among the references.

    Args:
        teachers: of the recipe.
        others: its references and regressions.
    """
    taken = {part.name.lower(): f"a reference is named {shown(part.name)}" for part in others}
    for part in teachers:
        if part.members is None:
            continue
        if (other := taken.get(part.called.lower())) is not None:
            where = f"teacher.{part.name}.member_name"
            yield f"{where}: found {shown(part.called)}, and {other}, too: expected another name"
        taken[part.called.lower()] = f"members of {shown(part.name)} are named {shown(part.called)}"


def taught_problems(teachers: Sequence[Teacher], students: Sequence[Student]) -> Iterator[str]:
    """What is wrong with the teachers that are students."""
    for part in teachers:
        if part.student is None:
            continue
        where = f"teacher.{part.name}.student"
        named = [student for student in students if student.name == part.student]
        if not named:
            yield f"{where}: {no_such_part('student', part.student, [student.name for student in students])}"
        elif len(named) > 1:
            yield f"{where}: found {len(named)} students named {shown(part.student)}, expected one: rename others"
        elif named[0].grid or named[0].sweep:
            key = "grid" if named[0].grid else "sweep"
            yield f"{where}: {shown(part.student)} has a {key}, expected a student of one setting"
        elif part.name in _behind(part, teachers, students):
            yield f"{where}: {shown(part.name)} would be taught by itself, expected a student of another teacher"


def _behind(teacher: Teacher, teachers: Sequence[Teacher], students: Sequence[Student]) -> set[str]:
    """The names of the teachers that a teacher comes from, its own among them if it comes from itself."""
    found: set[str] = set()
    left = [teacher]
    while left:
        one = left.pop()
        taught_by = [student.teacher for student in students if student.name == one.student]
        for part in teachers:
            if part.name in (*(one.of or ()), *taught_by) and part.name not in found:
                found.add(part.name)
                left.append(part)
    return found


def member_problems(teachers: Sequence[Teacher], students: Sequence[Student]) -> Iterator[str]:
    """What is wrong with students that learn from some members alone."""
    for student in students:
        (teacher,) = (part for part in teachers if part.name == student.teacher)
        name, where = shown(teacher.name), f"student.{student.name}.distill.members"
        count = member_count(teacher, teachers)
        for asked in members_asked(student):
            if teacher.from_ is not None:
                yield f"{where}: {name} is given, expected a teacher that is made here, with members"
            elif count < 2:
                yield f"{where}: {name} is one, expected a teacher with members, or the mean of several"
            elif asked > count:
                yield f"{where}: found {asked}, expected at most the {count} of {name}"
            elif isinstance(teacher.weights, list) and not any(teacher.weights[:asked]):
                yield f"{where}: the first {asked} members of {name} have no weight, expected more"


def members_asked(student: Student) -> list[int]:
    """The numbers of members that a student, its sweep and its grid ask for, each once."""
    tried = [trial.distill.members for part in student.swept() for trial in part.trials()]
    return sorted({members for members in tried if members is not None})
