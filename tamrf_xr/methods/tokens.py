"""The network in two halves behind the fuser protocol: a cube to tokens, tokens to bands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tamrf_xr.fuser import Cost, Crop, Episode, FuserSpec, Pixels, Series
from tamrf_xr.methods.registry import Bands
from tamrf_xr.methods.standardising import STREAMS
from tamrf_xr.methods.tamrf import TamrfFuser, halo_of
from tamrf_xr.model.form import Form

if TYPE_CHECKING:
    from torch import Tensor

    from tamrf_xr.model.network import Tamrf

LATENT = "latent"
"""The group of tokens: what one half makes and the other reads."""

BYTES = {"int8": 1, "bfloat16": 2, "float32": 4}
"""Of a number, by how tokens are kept."""


def encoding(spec: FuserSpec, form: Form, model: Tamrf) -> FuserSpec:
    """Return the recipe that makes tokens, of the one that makes bands."""
    cost, kept = spec.cost, len(form.channels) * BYTES[form.kind]
    return replace(
        spec,
        factory=f"{__name__}:TokenEncoder",
        halo=halo_of(model, {}),
        makes=((LATENT, form.channels),),
        options=(*spec.options, ("form", form)),
        cost=Cost(cost.fixed, cost.per_date, per_query=2.0 * kept),
    )


def decoding(spec: FuserSpec, form: Form, *, reach: int) -> FuserSpec:
    """Return the recipe that makes bands of tokens, of the one that makes them of a cube."""
    cost, kept = spec.cost, len(form.channels) * BYTES[form.kind]
    return replace(
        spec,
        factory=f"{__name__}:TokenDecoder",
        halo=((LATENT, reach),),
        # Beyond the scene lie tokens, or nothing.
        options=tuple({**dict(spec.options), "border": "zeros", "form": form}.items()),
        cost=replace(cost, per_date={LATENT: 2.0 * kept}),
        provenance=(*spec.provenance, ("decoded_from", f"a latent cube in {form.kind}")),
    )


class TokenEncoder(TamrfFuser):
    """Encoders and attention among acquisitions."""

    def __init__(self, makes: Bands, *, form: Form, **how: Any) -> None:
        """Load the weights."""
        super().__init__(makes, **how)
        self._form, self._margin = form, 0  # nothing is decoded

    def __call__(
        self, series: Mapping[str, Series], episodes: Sequence[Episode], crop: Crop
    ) -> dict[str, Pixels]:
        """Make the tokens of all acquisitions, which are one episode; see `Fuser`."""
        from tamrf_xr.model.latent import encode_tokens

        (episode,) = episodes
        features = {STREAMS[name]: self._encode(name, seen, crop) for name, seen in series.items()}
        days = {STREAMS[name]: episode.days[name] for name in series}
        kept = encode_tokens(self._engine, features, days, self._form)
        return {LATENT: kept.cpu().numpy()}


class TokenDecoder(TamrfFuser):
    """Attention from query dates, and the decoder."""

    def __init__(self, makes: Bands, *, form: Form, **how: Any) -> None:
        """Load the weights."""
        super().__init__(makes, **how)
        self._form = form

    def __call__(
        self, series: Mapping[str, Series], episodes: Sequence[Episode], crop: Crop
    ) -> dict[str, Pixels]:
        """Answer query dates; see `Fuser`."""
        kept = self._engine.upload(series[LATENT].pixels)
        bands = self._answers(episodes, {LATENT: kept}, self._core(crop, LATENT))
        return self._split(self._engine.download(bands).numpy())

    def _reconstructed(
        self, episode: Episode, features: Mapping[str, Tensor], channels: list[int]
    ) -> Tensor:
        from tamrf_xr.model.latent import decode_tokens

        return decode_tokens(
            self._engine, features[LATENT], list(episode.query_days), self._form,
            days={STREAMS[name]: list(own) for name, own in episode.days.items()},
            channels=channels,
        )  # fmt: skip
