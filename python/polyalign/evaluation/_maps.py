"""Maps of answers: where humans' and models' lie, in two dimensions, as counts on a grid."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from polyalign.evaluation._people import standardised
from polyalign.evaluation._texts import said

if TYPE_CHECKING:
    from polyalign.evaluation._arrays import Floats, Indices
    from polyalign.evaluation._work import Measured, Work

__all__ = ["METHODS", "as_methods", "maps"]

METHODS = ("pca", "tsne", "umap")
_GRID = 28
#: So many answers of all sides together are placed by t-SNE, by UMAP, and read by an encoder: some seconds of each.
_POINTS = 800
_LEAST = 20
#: Of the axes of a space, so many at most are what neighbours are found in.
_AXES = 50


def as_methods(given: Any) -> tuple[str, ...]:
    """Return the methods of maps, in our order; PCA is always there.

    Raises
    ------
    ValueError
        There is none of a name.

    Examples
    --------
    >>> as_methods(["tsne"])
    ('pca', 'tsne')
    """
    names = {given} if isinstance(given, str) else set(given)
    unknown = sorted(names - set(METHODS))
    if unknown:
        raise ValueError(f"no map {', '.join(map(repr, unknown))}: there are {', '.join(METHODS)}")
    return tuple(name for name in METHODS if name == METHODS[0] or name in names)


def maps(work: Work, found: Sequence[Measured], methods: Sequence[str]) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the maps of humans' and models' answers, and what a reader should know.

    Parameters
    ----------
    work : Work
    found : sequence of Measured
    methods : sequence of str

    Returns
    -------
    list of dict, list of str
        ``space``, ``method``, ``size`` of the grid, ``grids`` with a count a cell, humans' first; ``points`` where they
        are a sample; of PCA ``shares`` of the variance, and of features ``axes``, what weighs most in them.
    """
    people = np.flatnonzero(work.humans.usable & work.humans.answered)
    if len(people) < _LEAST:
        return [], []
    sides = [people, *(np.flatnonzero((one.model.turn == 0) & ~one.side.empty) for one in found)]
    told: list[dict[str, Any]] = []
    notices: list[str] = []
    of_people = work.side.features[people]
    used = np.flatnonzero(((~np.isnan(of_people)).mean(axis=0) > 0.5) & ~work.columns.related)
    drawn = _sampled(work, found, sides)
    spaces: list[tuple[str, list[Floats]]] = []
    if len(used) >= 2:
        told.append(_features(work, _scaled(work, found, sides, people, used), used))
        spaces.append(("features", _scaled(work, found, drawn, people, used)))
    if work.encoder is not None:
        spaces.append(("encoder", _vectors(work, found, drawn)))
        told.append({"space": "encoder", **_pca(spaces[-1][1])})
    for name in methods:
        if name == METHODS[0]:
            continue
        place = _PLACED[name]
        try:
            for space, points in spaces:
                placed = _parted(place(_reduced(np.concatenate(points)), work.draws.seed), [len(of) for of in points])
                told.append({"space": space, "method": name, **_grids(placed), "points": sum(map(len, points))})
        except ModuleNotFoundError as error:
            package = {"sklearn": "scikit-learn", "umap": "umap-learn"}.get(str(error.name).split(".")[0], error.name)
            notices.append(said("no_map", method={"tsne": "t-SNE", "umap": "UMAP"}[name], package=str(package)))
    return sorted(told, key=lambda each: (each["space"] == "encoder", METHODS.index(each["method"]))), notices


# ---------------------------------------------------------------------------------------------------- spaces


def _sampled(work: Work, found: Sequence[Measured], sides: Sequence[Indices]) -> list[Indices]:
    """Return so many of each side, by the order of their ids' hashes: the same whatever the order of rows."""
    most = max(_LEAST, _POINTS // len(sides))
    drawn = [work.ordered(sides[0].tolist())[:most]]
    for one, at in zip(found, sides[1:], strict=True):
        by_human = {int(one.model.of[each]): each for each in at.tolist()}
        drawn.append(np.array([by_human[row] for row in work.ordered(by_human).tolist()][:most], dtype=np.int64))
    return drawn


def _scaled(
    work: Work, found: Sequence[Measured], sides: Sequence[Indices], people: Indices, used: Indices
) -> list[Floats]:
    """Return some features of some answers of either side, humans' first, in units of all people's spread."""
    of_people = work.side.features[np.ix_(people, used)]
    spread = np.maximum(np.nanstd(of_people, axis=0), work.columns.least[used])
    features = [work.side.features, *(one.side.features for one in found)]
    centre = np.nanmean(of_people, axis=0)
    return [standardised(of[np.ix_(at, used)], centre, spread) for of, at in zip(features, sides, strict=True)]


def _vectors(work: Work, found: Sequence[Measured], drawn: Sequence[Indices]) -> list[Floats]:
    """Return an encoder's vectors of sampled texts, of length 1."""
    texts = [[work.humans.texts[row] for row in drawn[0].tolist()]]
    texts += [[one.side.texts[at] for at in of.tolist()] for one, of in zip(found, drawn[1:], strict=True)]
    vectors = np.asarray(work.embedded([text for of in texts for text in of]), dtype=np.float64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return _parted(np.nan_to_num(vectors / np.maximum(lengths, 1e-12)), [len(of) for of in texts])


def _parted(rows: Floats, lengths: Sequence[int]) -> list[Floats]:
    return np.split(rows, np.cumsum(lengths)[:-1])


# --------------------------------------------------------------------------------------------------- methods


def _features(work: Work, rows: Sequence[Floats], used: Indices) -> dict[str, Any]:
    """Return the map of all answers by the main axes of humans' features."""
    found, axes = _pca_with_axes(rows)
    names = [work.features[at].name for at in used.tolist()]
    main = [[names[at] for at in np.abs(axis).argsort()[::-1][:3].tolist()] for axis in axes.T]
    return {"space": "features", **found, "axes": main}


def _pca(sides: Sequence[Floats]) -> dict[str, Any]:
    return {**_pca_with_axes(sides)[0], "points": sum(map(len, sides))}


def _pca_with_axes(sides: Sequence[Floats]) -> tuple[dict[str, Any], Floats]:
    values, vectors = np.linalg.eigh(np.cov(sides[0].T))
    axes = vectors[:, ::-1][:, :2]
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]])
    shares = (values[::-1][:2] / max(1e-12, float(values.sum()))).tolist()
    placed = _grids([side @ axes for side in sides])
    return {"method": METHODS[0], **placed, "shares": [round(share, 4) for share in shares]}, axes


def _reduced(rows: Floats) -> Floats:
    """Return rows on their main axes, as many as neighbours are found in."""
    if rows.shape[1] <= _AXES:
        return rows
    centred = rows - rows.mean(axis=0)
    _, vectors = np.linalg.eigh(np.cov(centred.T))
    return np.asarray(centred @ vectors[:, ::-1][:, :_AXES])


def _tsne(rows: Floats, seed: int) -> Floats:
    from sklearn.manifold import TSNE

    # One thread: sums of several are of another order.
    found = TSNE(init="pca", perplexity=min(30.0, (len(rows) - 1) / 3), max_iter=500, random_state=seed, n_jobs=1)
    return np.asarray(found.fit_transform(rows.astype(np.float32)), dtype=np.float64)


def _umap(rows: Floats, seed: int) -> Floats:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from umap import UMAP

        found = UMAP(n_neighbors=min(15, len(rows) - 1), min_dist=0.1, random_state=seed, n_jobs=1)
        return np.asarray(found.fit_transform(rows.astype(np.float32)), dtype=np.float64)


_PLACED: dict[str, Callable[[Floats, int], Floats]] = {"tsne": _tsne, "umap": _umap}


def _grids(sides: Sequence[Floats]) -> dict[str, Any]:
    """Return how many of each side lie in every cell of one grid; what lies far out is in the cells at its edge."""
    low, high = np.quantile(np.concatenate(list(sides)), [0.005, 0.995], axis=0)
    high = np.maximum(high, low + 1e-6)
    cells = [np.clip(((side - low) / (high - low) * _GRID).astype(int), 0, _GRID - 1) for side in sides]
    grids = [np.bincount(cell[:, 1] * _GRID + cell[:, 0], minlength=_GRID**2).tolist() for cell in cells]
    return {"size": _GRID, "grids": grids}
