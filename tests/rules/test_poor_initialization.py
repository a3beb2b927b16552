from __future__ import annotations

from typing import Any

from diagnose.rules.poor_initialization import PoorInitialization
from diagnose.values import Severity
from tests.rules.probes import findings


def layer(name: str, gain: float = 0.58, **changes: Any) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "name": name,
        "fan_in": 64,
        "fan_out": 64,
        "gain": gain,
        "input_std": 1.0,
        "output_std": gain,
        "symmetric": False,
    }
    return {**entry, "zero": False, "normalised": False, "last": False, **changes}


def judge(*layers: dict[str, Any]) -> list[Any]:
    return findings(PoorInitialization(), probe__initialization=list(layers))


def test_weights_that_are_too_large() -> None:
    (finding,) = judge(layer("a", 8.0), layer("b", 8.0, input_std=5.0, output_std=40.0), layer("c", 0.58))
    assert finding.severity is Severity.WARNING
    assert finding.where == "a"
    assert finding.message == (
        "signals grow from 1 to 40 through 2 layers: their weights have 8.0 times the scale 1/sqrt(fan-in), He's is 1.4"
    )
    assert "nn.init.kaiming_normal_ (ReLU)" in finding.fix
    assert finding.evidence == {"gain": 8.0, "limit": 4.0, "growth": 40.0}


def test_positive_weights_add_up_although_each_is_small() -> None:
    (finding,) = judge(layer("a", 3.9, output_std=20.0), layer("b", 3.9, input_std=20.0, output_std=450.0))
    assert finding.message.startswith("signals grow from 1 to 450 through 2 layers")


def test_biases_behind_a_faint_signal_are_no_growth() -> None:
    assert judge(layer("a", input_std=1e-6, output_std=0.07), layer("b", input_std=1e-6, output_std=0.07)) == []


def test_weights_that_are_too_small() -> None:
    (finding,) = judge(layer("a", 0.01), layer("b", 0.01, input_std=0.01, output_std=1e-4), layer("c", last=True))
    assert finding.severity is Severity.WARNING
    assert finding.message.startswith("signals shrink from 1 to 0.0001 through 2 layers")


def test_equal_units() -> None:
    (finding,) = judge(layer("a", 0.0, symmetric=True, zero=True), layer("b", 0.0, symmetric=True, zero=True), layer("c", last=True))
    assert "all units of a, b have zero weights and equal gradients" in finding.message
    (mixed,) = judge(layer("a", 0.0, symmetric=True), layer("c", last=True))
    assert "all units of a have equal weights" in mixed.message


def test_factors_that_start_at_zero() -> None:
    def stuck(*names: str, symmetric: bool = False) -> list[Any]:
        layers = [layer("a", 0.0, zero=True, symmetric=symmetric), layer("c", last=True)]
        return findings(PoorInitialization(), probe__initialization=layers, probe__stuck=list(names))

    (finding,) = stuck("user.weight", "item.weight")
    assert finding.where == "user"
    assert finding.message == "user, item start at zero, and so does what multiplies them: their gradient is zero in every step"
    (finding,) = stuck("table")
    assert finding.message == "table starts at zero, and so does what multiplies it: its gradient is zero in every step"
    (finding,) = stuck("a.weight", symmetric=True)
    assert "all units of a have zero weights and equal gradients" in finding.message
    assert stuck() == []


def test_tables_whose_columns_stay_equal() -> None:
    tables = [embedding(0.1, name="user"), embedding(0.1, name="item", last=True)]
    (finding,) = findings(PoorInitialization(), probe__initialization=tables, probe__alike=["user.weight", "item.weight"])
    assert finding.severity is Severity.WARNING
    assert finding.where == "user"
    assert finding.message.startswith("all columns of user, item start equal and get equal gradients, so they can never become different")
    assert finding.evidence == {"tables": 2}
    assert findings(PoorInitialization(), probe__initialization=tables, probe__alike=[]) == []


def test_usual_weights_are_clean() -> None:
    assert judge(layer("a"), layer("b", 1.41), layer("c", last=True)) == []


def test_one_layer_alone_and_normalised_layers_are_not_judged() -> None:
    assert judge(layer("a", 8.0), layer("b")) == []
    assert judge(layer("a", 8.0, normalised=True), layer("b", 8.0, normalised=True)) == []
    assert judge(layer("a", 8.0, output_std=1.5), layer("b", 8.0, output_std=1.5)) == []  # the signal does not grow
    assert judge(layer("a", 4.0), layer("b", 4.0)) == []  # the edge
    assert judge(layer("a", 0.05), layer("b", 0.05)) == []


def test_a_last_layer_that_starts_at_zero_is_no_fault() -> None:
    assert judge(layer("a"), layer("b", 0.0, zero=True, symmetric=True, last=True)) == []
    assert judge(layer("a", 0.0, zero=True), layer("b", 0.0, zero=True), layer("c", last=True)) == []  # unequal gradients
    assert judge(layer("a", 0.0, zero=True, symmetric=True, fan_out=1), layer("c", last=True)) == []  # one unit


def embedding(gain: float, name: str = "embed", **changes: Any) -> dict[str, Any]:
    return layer(name, gain, **{"kind": "embedding", "output_std": gain, "fan_out": 16, **changes})


def test_embeddings_that_are_far_too_large() -> None:
    (finding,) = judge(embedding(40.0), layer("gate", input_std=40.0, output_std=23.0))
    assert finding.where == "embed"
    assert "entries of 40 in the root mean square" in finding.message


def test_embeddings_of_usual_size_before_a_norm_or_of_one_column_are_clean() -> None:
    assert judge(embedding(1.0)) == []
    assert judge(embedding(9.0)) == []
    assert judge(embedding(40.0, normalised=True)) == []
    assert judge(embedding(40.0, fan_out=1)) == []


def stream(growth: float, blocks: int, **first: Any) -> list[Any]:
    layers = [layer(str(i), 1.4, input_std=growth**i, output_std=1.4 * growth**i) for i in range(blocks)]
    fact = {"uniform": 2.3, "ratio": 50.0, **first}
    return findings(PoorInitialization(), probe__initialization=layers, probe__initial_loss=fact)


def test_branches_added_at_full_size_are_found_where_the_first_outputs_are_too_large() -> None:
    (finding,) = stream(1.5, 16)
    assert finding.message.startswith("what reaches the layers grows from 1.4 to 438 in 14 steps")
    assert stream(1.5, 16, uniform=None, ratio=None, prediction_std=400.0, target_rms=1.0) != []


def test_streams_that_grow_little_or_do_no_harm_are_clean() -> None:
    assert stream(1.5, 16, ratio=1.2) == []
    assert stream(1.5, 16, uniform=None, ratio=None, prediction_std=4.0, target_rms=1.0) == []
    assert stream(1.05, 16) == []
    assert stream(1.5, 5) == []
    assert stream(1000.0, 3) == []  # another input joins


def loop(each: float, calls: int, *, loud: bool = True) -> list[Any]:
    cell = layer("cell", kind="own", output_std=0.5, calls=calls, last_std=0.5 * each ** (calls - 1))
    fact = {"uniform": None, "ratio": None, "prediction_std": 100.0 if loud else 1.0, "target_rms": 1.0}
    return findings(PoorInitialization(), probe__initialization=[cell], probe__initial_loss=fact)


def test_a_state_that_grows_from_step_to_step() -> None:
    (finding,) = loop(6.0, 12)
    assert finding.where == "cell"
    assert finding.message == "what cell gives grows from 0.5 to 1.81e+08 in 12 calls of one pass, 6 times from each to the next"
    assert loop(1.9, 12) == []
    assert loop(6.0, 3) == []
    assert loop(6.0, 12, loud=False) == []


def test_layers_of_the_users_own() -> None:
    own = [layer(name, 1.0, kind="own", input_std=1.0, output_std=9.0) for name in "ab"]
    (finding,) = judge(*own)
    assert finding.where == "a"
    assert judge(own[0]) == []
    assert judge(*(layer(name, 40.0, kind="own", output_std=7.0) for name in "ab")) == []  # which axis is summed over is not known


def fading(gain: float, last: float) -> list[dict[str, Any]]:
    """Four layers of this gain, each behind what the one before lets through, and a last one that ``last`` reaches."""
    return [
        *(layer(n, gain, input_std=gain**i, output_std=gain ** (i + 1)) for i, n in enumerate("abcd")),
        layer("e", input_std=last, last=True),
    ]


def test_weights_that_together_let_nothing_through() -> None:
    (finding,) = judge(*fading(0.1, 1e-4))
    assert finding.message.startswith("signals shrink from 1 to 0.0001 through 4 layers")
    assert finding.evidence["limit"] == 0.3


def test_small_weights_are_healthy_where_something_comes_through() -> None:
    assert judge(*fading(0.2, 0.01)) == []
    assert judge(*fading(0.1, 1.0)) == []  # behind a normalisation
    assert judge(*fading(0.58, 1e-4)) == []  # torch's default


def test_layers_of_the_users_own_that_shrink_signals() -> None:
    own = [layer(name, 0.01, kind="own", output_std=0.01) for name in "abc"]
    (finding,) = judge(*own[:2], {**own[2], "last": True})
    assert finding.message.startswith("signals shrink from 1 to 0.01 through 2 layers")
    assert judge(*({**e, "output_std": 1.0} for e in own)) == []  # what is added to its input


def test_a_square_matrix_from_state_to_state() -> None:
    def found(gain: float, spread: float) -> list[Any]:
        first = {"uniform": None, "ratio": None, "prediction_std": spread, "target_rms": 1.0}
        matrices = [{"name": "w", "size": 48, "gain": gain}]
        return findings(PoorInitialization(), probe__initialization=[layer("a")], probe__initial_loss=first, probe__matrices=matrices)

    (finding,) = found(6.9, 1e4)
    assert finding.message == "w, 48 by 48, has 6.9 times the scale 1/sqrt(48), and the first outputs are far too large"
    assert finding.fix == "divide it by sqrt(48), or draw it orthogonal"
    assert found(6.9, 2.0) == []
    assert found(1.0, 1e4) == []
