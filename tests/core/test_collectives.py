"""Exchanges that a TPU's program spreads over several computations."""

from chibijax.core import collectives

GATHER = "all-gather(%p), channel_id=1, dimensions={0}"


def test_an_exchange_in_pieces_counts_once():
  text = f"""HloModule step

%fused_computation.1 (p: f32[1,8]) -> f32[4,8] {{
  %g.1 = f32[4,8]{{1,0}} {GATHER}
  ROOT %c = f32[4,8] custom-call(%g.1), custom_call_target="AsyncCollectiveStart"
}}

%async_collective_fusion.7 (p: f32[1,8]) -> f32[4,8] {{
  %g.2 = f32[4,8]{{1,0:T(8,128)S(1)}} {GATHER}
}}

%fused_computation.2 (p: f32[1,8]) -> f32[4,8] {{
  %g.3 = f32[4,8]{{1,0}} {GATHER}
  ROOT %d = f32[4,8] custom-call(%g.3), custom_call_target="AsyncCollectiveDone"
}}

ENTRY %main (p: f32[1,8]) -> f32[4,8] {{
  %f = f32[4,8] fusion(%p), calls=%async_collective_fusion.7
  %s = f32[16] all-reduce(%x), to_apply=%add
}}
"""  # noqa: E501
  assert collectives.count(text) == {"all-gather": 128, "all-reduce": 64}
