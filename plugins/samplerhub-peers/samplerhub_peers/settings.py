"""What the report measures: the samplers of the peers, each with the fields in which its method differs."""

from __future__ import annotations

from collections.abc import Mapping

Fields = Mapping[str, object]

ORDERS: tuple[Fields, ...] = tuple({"order": k} for k in (1, 2, 3, 4))
WITHOUT_AND_WITH: tuple[Fields, ...] = ({"eta": 0.0}, {"eta": 1.0})
CHURN: tuple[Fields, ...] = ({}, {"s_churn": 20.0})
FINAL: tuple[Fields, ...] = ({"lower_order_final": True}, {"lower_order_final": False})


def each(one: tuple[Fields, ...], other: tuple[Fields, ...]) -> tuple[Fields, ...]:
    """Return every setting of one with every setting of the other."""
    return tuple({**a, **b} for a in one for b in other)


SETTINGS: Mapping[str, tuple[Fields, ...]] = {
    "kdiffusion-euler": CHURN,
    "kdiffusion-heun": CHURN,
    "kdiffusion-dpm-2": CHURN,
    "kdiffusion-euler-ancestral": WITHOUT_AND_WITH,
    "kdiffusion-dpm-2-ancestral": WITHOUT_AND_WITH,
    "kdiffusion-dpmpp-2s-ancestral": WITHOUT_AND_WITH,
    "kdiffusion-dpmpp-sde": WITHOUT_AND_WITH,
    "kdiffusion-lms": ORDERS,
    "kdiffusion-dpmpp-2m": ({},),
    "kdiffusion-dpmpp-2m-sde": each(({"solver_type": "midpoint"}, {"solver_type": "heun"}), WITHOUT_AND_WITH),
    "kdiffusion-dpmpp-3m-sde": WITHOUT_AND_WITH,
    "azula-ddpm": ({},),
    "azula-ddim": ({}, {"eta": 0.5}, {"eta": 1.0}),
    "azula-euler": ({},),
    "azula-heun": ({},),
    "azula-ito": WITHOUT_AND_WITH,
    "azula-pc": ({}, {"delta": 0.1}),
    "azula-zab": ORDERS,
    "azula-vab": ORDERS,
    "azula-zeab": ORDERS,
    "azula-xeab": ORDERS,
    "azula-reab": ORDERS,
    "diffusers-ddim": WITHOUT_AND_WITH,
    "diffusers-ddpm": ({"variance_type": "fixed_small"}, {"variance_type": "fixed_large"}),
    "diffusers-euler": CHURN,
    "diffusers-edm-euler": CHURN,
    "diffusers-euler-ancestral": ({},),
    "diffusers-heun": ({},),
    "diffusers-kdpm2": ({},),
    "diffusers-kdpm2-ancestral": ({},),
    "diffusers-lms": ORDERS,
    "diffusers-dpm-sde": ({},),
    "diffusers-dpm": (
        *each(({"algorithm_type": "dpmsolver++"}, {"algorithm_type": "dpmsolver"}), ({}, {"solver_order": 3})),
        *each(({"algorithm_type": "sde-dpmsolver++"},), ({}, {"solver_order": 3})),
        {"algorithm_type": "sde-dpmsolver"},
    ),
    "diffusers-dpm-single": (
        *FINAL,
        *each(({"solver_order": 3},), FINAL),
        {"algorithm_type": "dpmsolver", "solver_order": 3, "lower_order_final": False},
        {"algorithm_type": "sde-dpmsolver++"},
    ),
    "diffusers-edm-dpm": ({}, {"solver_order": 3}, {"algorithm_type": "sde-dpmsolver++"}),
    "diffusers-deis": ({}, {"solver_order": 3}),
    "diffusers-unipc": each(({"solver_order": 1}, {"solver_order": 2}, {"solver_order": 3}), FINAL),
    "diffusers-sa": each(
        ({}, {"predictor_order": 3, "corrector_order": 3}), ({"tau": 0.0, "lower_order_final": False}, {"tau": 1.0})
    ),
    "diffusers-ipndm": ({},),
    "diffusers-flow-euler": ({},),
    "diffusers-flow-heun": ({},),
}
"""Fields that differ from the defaults, by the name of the sampler."""
