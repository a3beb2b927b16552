"""Small trainings of many kinds, in which watching has to change nothing."""

from __future__ import annotations

from tests.callbacks import jobs_batches, jobs_data, jobs_networks, jobs_optimizers, jobs_settings, jobs_steps, jobs_trainers
from tests.callbacks.trainings import Jobs

JOBS = Jobs(
    jobs_networks.job | jobs_steps.job | jobs_optimizers.job | jobs_trainers.job | jobs_settings.job | jobs_data.job | jobs_batches.job
)
