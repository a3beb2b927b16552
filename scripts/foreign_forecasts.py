"""Small trainings of packages that forecast series."""

from __future__ import annotations

from typing import Any

from scripts.foreign_demos import QUIET, Trained


def series(rows: int = 120) -> Any:
    """Two noisy waves."""
    import numpy as np
    import pandas as pd

    frames: list[Any] = []
    for name in ("one", "two"):
        y = np.sin(np.arange(rows) / 6 + len(frames)) + np.random.default_rng(len(frames)).normal(scale=0.1, size=rows)
        frames.append(pd.DataFrame({"unique_id": name, "ds": pd.date_range("2024-01-01", periods=rows), "t": range(rows), "y": y}))
    return pd.concat(frames, ignore_index=True)


def neuralforecast(callbacks: list[Any]) -> Trained:
    """N-HiTS, whose Trainer the package makes itself."""
    from neuralforecast import NeuralForecast
    from neuralforecast.models import NHITS

    given = {"callbacks": callbacks} if callbacks else {}
    model = NHITS(h=6, input_size=24, max_steps=60, val_check_steps=20, accelerator="cpu", random_seed=7, **QUIET, **given)
    forecast = NeuralForecast(models=[model], freq="D")
    forecast.fit(series().drop(columns="t"), val_size=12)
    return forecast.models[0], None, None


def forecasting(callbacks: list[Any]) -> Trained:
    """The temporal fusion transformer."""
    from lightning.pytorch import Trainer
    from pytorch_forecasting import TemporalFusionTransformer, TimeSeriesDataSet
    from pytorch_forecasting.metrics import QuantileLoss

    frame = series()
    options: dict[str, Any] = {"time_idx": "t", "target": "y", "group_ids": ["unique_id"], "max_encoder_length": 20}
    options |= {"max_prediction_length": 5, "time_varying_unknown_reals": ["y"], "time_varying_known_reals": ["t"]}
    training = TimeSeriesDataSet(frame[frame["t"] < 100], **options)
    train = training.to_dataloader(train=True, batch_size=16, num_workers=0)
    val = TimeSeriesDataSet.from_dataset(training, frame, min_prediction_idx=100).to_dataloader(batch_size=16, num_workers=0)
    module = TemporalFusionTransformer.from_dataset(training, hidden_size=8, attention_head_size=1, loss=QuantileLoss(), learning_rate=0.01)
    Trainer(max_epochs=2, accelerator="cpu", gradient_clip_val=0.1, callbacks=callbacks, **QUIET).fit(module, train, val)
    return module, train, val


def gluonts(callbacks: list[Any]) -> Trained:
    """DeepAR, over an endless stream of windows; it goes back to its best checkpoint."""
    from gluonts.dataset.pandas import PandasDataset
    from gluonts.torch.model.deepar import DeepAREstimator

    data = PandasDataset.from_long_dataframe(series(), target="y", item_id="unique_id", timestamp="ds", freq="D")
    options = {**QUIET, "enable_checkpointing": True, "accelerator": "cpu", "max_epochs": 2, "callbacks": callbacks}
    estimator = DeepAREstimator("D", 5, hidden_size=8, num_batches_per_epoch=20, batch_size=16, trainer_kwargs=options)
    return estimator.train_model(data).trained_net, None, None


def darts(callbacks: list[Any]) -> Trained:
    """A temporal convolution, in double precision as that package's series are."""
    import numpy as np
    from darts import TimeSeries
    from darts.models import TCNModel

    waves = [TimeSeries.from_values(np.sin(np.arange(120) / 6 + shift)) for shift in range(2)]
    options = {"accelerator": "cpu", "callbacks": callbacks, "enable_progress_bar": False, "enable_model_summary": False}
    model = TCNModel(24, 5, num_filters=4, n_epochs=3, random_state=7, pl_trainer_kwargs=options)
    model.fit([wave[:96] for wave in waves], val_series=waves)
    return model.model, None, None
