"""Bagged regression trees with a ridge regression in every leaf."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEAST = 10
"""Samples of a leaf, and of a fit."""

RIDGE = 1.0
"""Weight of the ridge penalty on standardised predictors, where samples weigh 1 on average."""

BEYOND = 0.25
"""How far a leaf's prediction may leave the range of its samples, relative to that range."""


@dataclass(frozen=True, slots=True)
class Growth:
    """How an ensemble is grown."""

    trees: int
    """How many, each on a bootstrap sample."""

    leaves: int
    """At most so many a tree."""


@dataclass(frozen=True, slots=True)
class LeafTree:
    """One tree, and the regression of each of its leaves."""

    tree: Any
    """``sklearn.tree.DecisionTreeRegressor``."""

    planes: Floats
    """``(node, predictor + 1)``: constant and slopes; rows of inner nodes are not used."""

    bounds: Floats
    """``(node, 2)``: lowest and highest prediction."""

    def predict(self, predictors: Floats) -> Floats:
        """Predict from standardised `predictors` (sample, predictor)."""
        leaf = self.tree.apply(predictors.astype(np.float32))
        planes, (low, high) = self.planes[leaf], self.bounds[leaf].T
        value = planes[:, 0] + np.einsum("sp,sp->s", planes[:, 1:], predictors)
        return np.asarray(np.clip(value, low, high))


@dataclass(frozen=True, slots=True)
class Ensemble:
    """Trees whose predictions are averaged."""

    trees: tuple[LeafTree, ...]
    """At least one."""

    mean: Floats
    """Of each predictor, over the samples."""

    spread: Floats
    """Standard deviation of each predictor, 1 where it does not vary."""

    def predict(self, predictors: Floats) -> Floats:
        """Predict (sample,) from `predictors` (sample, predictor), no NaN."""
        standard = (predictors - self.mean) / self.spread
        return np.asarray(np.mean([tree.predict(standard) for tree in self.trees], axis=0))


def grow(
    predictors: Floats, target: Floats, weight: Floats, *, how: Growth, rng: np.random.Generator
) -> Ensemble | None:
    """Fit an ensemble.

    Parameters
    ----------
    predictors
        ``(sample, predictor)``, no NaN.
    target, weight
        ``(sample,)``; weights are positive.
    how
        Size of the ensemble.
    rng
        Draws the bootstrap samples.

    Returns
    -------
    Ensemble or None
        None where there are fewer than 10 samples.

    References
    ----------
    Gao, Kustas & Anderson, "A Data Mining Approach for Sharpening Thermal Satellite Imagery over
    Land", Remote Sensing 2012, 4(11), 3287, 10.3390/rs4113287.
    """
    if len(target) < LEAST:
        return None
    mean, spread = predictors.mean(axis=0), predictors.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    standard = (predictors - mean) / spread
    weight = weight / weight.mean()
    trees = []
    for _ in range(how.trees):
        bag = rng.integers(len(target), size=len(target))
        trees.append(_grow_one(standard[bag], target[bag], weight[bag], how.leaves))
    return Ensemble(tuple(trees), mean, spread)


def _grow_one(predictors: Floats, target: Floats, weight: Floats, leaves: int) -> LeafTree:
    from sklearn.tree import DecisionTreeRegressor  # type: ignore[import-untyped]

    # Without sampling of features the tree is settled by the data, but for ties.
    tree = DecisionTreeRegressor(max_leaf_nodes=leaves, min_samples_leaf=LEAST, random_state=0)
    tree.fit(predictors.astype(np.float32), target, sample_weight=weight)
    of = tree.apply(predictors.astype(np.float32))
    planes = np.zeros((tree.tree_.node_count, predictors.shape[1] + 1))
    bounds = np.zeros((tree.tree_.node_count, 2))
    for leaf in np.unique(of):
        inside = of == leaf
        planes[leaf] = _ridge(predictors[inside], target[inside], weight[inside])
        low, high = target[inside].min(), target[inside].max()
        bounds[leaf] = low - BEYOND * (high - low), high + BEYOND * (high - low)
    return LeafTree(tree, planes, bounds)


def _ridge(predictors: Floats, target: Floats, weight: Floats) -> Floats:
    """Return constant and slopes; the constant bears no penalty."""
    x0 = np.average(predictors, axis=0, weights=weight)
    y0 = np.average(target, weights=weight)
    x, y = predictors - x0, target - y0
    gram = (x * weight[:, None]).T @ x + RIDGE * np.eye(x.shape[1])
    slopes = np.linalg.solve(gram, (x * weight[:, None]).T @ y)
    return np.concatenate([[y0 - slopes @ x0], slopes])
