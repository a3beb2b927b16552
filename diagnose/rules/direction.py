"""Which way a metric gets better, by its name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

HIGHER = tuple(
    "acc accuracy auc auroc auprc f1 f2 fbeta precision recall sensitivity specificity iou miou jaccard dice kappa mcc ap map ndcg mrr "
    "bleu rouge r2 r2score psnr ssim spearman pearson reward".split()
)
FROM_ZERO = tuple("acc accuracy iou miou jaccard dice f1".split())  # no model that has learned anything stays at their least
LOWER = tuple("loss error err nll mse rmse rmsle mae mape smape perplexity ppl wer cer eer fid kid lpips bce ce brier crps ece".split())


def base(name: str) -> str:
    """A metric's name without what Lightning adds to it.

    >>> base("val_loss/dataloader_idx_0"), base("train_loss_epoch")
    ('val_loss', 'train_loss')
    """
    return re.sub(r"(_step|_epoch)$", "", re.sub(r"/dataloader_idx_\d+$", "", name))


def words(name: str) -> set[str]:
    """The words of a metric's name.

    >>> sorted(words("val/IoU_epoch"))
    ['iou', 'val']
    """
    return set(re.split(r"[^a-z0-9]+", base(name).lower()))


def other_way(waiting: Mapping[str, Any], higher: Sequence[str] = HIGHER, lower: Sequence[str] = LOWER) -> str:
    """The mode that the metric somebody waits for wants by its name, where it was given the other one; else ``""``.

    >>> other_way({"monitor": "val_loss", "mode": "max"}), other_way({"monitor": "val_acc", "mode": "max"})
    ('min', '')
    """
    said = words(waiting["monitor"])
    wants = "min" if said & set(lower) else "max" if said & set(higher) else ""
    return wants if waiting.get("mode") in ("min", "max") and waiting["mode"] != wants else ""
