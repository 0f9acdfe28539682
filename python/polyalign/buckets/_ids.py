"""A bucket's id: one part an axis, joined by ``|``; what is ``|`` or ``%`` in a part is escaped there.

``en|single|qa|short`` has the language en, the track single, the family qa and the length short. The engine writes
ids by these rules; here they are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from polyalign._text.words import counted

DEFAULT_AXES = ("language", "track", "family", "length")
#: As a part: all values of the axis.
ALL = "*"
_SEPARATOR = "|"
# Dropped after custom axes for want of humans, as in the engine: most features scale with length, so it goes last.
_DROPPED = ("family", "track", "length")
# Unicode's, which the engine trims; `str.strip` takes four control characters more.
_WHITE_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B)))


def joined(parts: Iterable[str]) -> str:
    """Return the id of parts, which are escaped."""
    return _SEPARATOR.join(parts)


def split(bucket: str) -> list[str]:
    """Return the parts of an id, escaped as they are there."""
    return bucket.split(_SEPARATOR)


def unescaped(part: str) -> str:
    """Return what a part says.

    Examples
    --------
    >>> unescaped("q%7Ca")
    'q|a'
    """
    return part.replace("%7C", "|").replace("%25", "%")


def normal(part: str) -> str:
    """Return a part as ids have it: trimmed, lower case, escaped."""
    return unescaped(part).strip(_WHITE_SPACE).lower().replace("%", "%25").replace("|", "%7C")


def checked_parts(bucket: str, axes: Sequence[str]) -> list[str]:
    """Split an id; ``ValueError`` unless it is that of one bucket with these axes."""
    if not isinstance(bucket, str):
        raise ValueError(f"a bucket is a text, not {bucket!r}")
    parts = split(bucket)
    if len(parts) != len(axes):
        raise ValueError(f"bucket {bucket!r} has {counted(len(parts), 'part')}, not one for each of {', '.join(axes)}")
    for part in parts:
        if part == ALL:
            raise ValueError(f"bucket {bucket!r}: a part is `*`, which stands for all: count buckets, not their sums")
        if not part or part != normal(part):
            raise ValueError(f"bucket {bucket!r}: part {part!r} is not as ids have them: trimmed, lower case, escaped")
    return parts


def targets(bucket: str, axes: Sequence[str] = DEFAULT_AXES) -> list[str]:
    """Return a bucket and its ancestors, nearest first; ``ValueError`` unless it is the id of one with these axes.

    Examples
    --------
    >>> targets("zh|multi|qa|short")
    ['zh|multi|qa|short', 'zh|multi|*|short', 'zh|*|*|short', 'zh|*|*|*']
    """
    parts = checked_parts(bucket, axes)
    found = [bucket]
    custom = [axis for axis in reversed(axes) if axis not in DEFAULT_AXES]
    for axis in (*custom, *(axis for axis in _DROPPED if axis in axes)):
        parts[axes.index(axis)] = ALL
        found.append(joined(parts))
    return found


def named_parts(bucket: str, axes: Sequence[str] = DEFAULT_AXES) -> dict[str, str]:
    """Return what the parts of an id say, by their axes; of fewer parts only the first, the language, is known.

    Examples
    --------
    >>> named_parts("zh|multi|qa|short")
    {'language': 'zh', 'track': 'multi', 'family': 'qa', 'length': 'short'}
    >>> named_parts("zh|film")
    {'language': 'zh'}
    """
    parts = split(bucket)
    known = axes if len(parts) >= len(axes) else axes[:1]
    return dict(zip(known, map(unescaped, parts), strict=False))


def suggested_axes(bucket: str) -> tuple[str, ...]:
    """Return the axes that an id suggests: further parts are custom axes; of fewer only the first is known.

    Examples
    --------
    >>> suggested_axes("en|multi|qa|short|film")
    ('language', 'track', 'family', 'length', 'axis 5')
    """
    parts = len(split(bucket))
    known = DEFAULT_AXES if parts >= len(DEFAULT_AXES) else DEFAULT_AXES[:1]
    return (*known, *(f"axis {at}" for at in range(len(known) + 1, parts + 1)))
