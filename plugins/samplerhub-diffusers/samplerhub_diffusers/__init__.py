"""Networks of diffusers in samplerhub, and samplers of samplerhub in the pipelines of diffusers."""

from samplerhub.plugin import Entry, hookimpl


@hookimpl
def samplerhub_entries() -> list[Entry]:
    """Offer the model and the process; the scheduler is `samplerhub_diffusers.scheduler.SamplerhubScheduler`."""
    return [
        Entry(
            "model",
            "diffusers",
            "samplerhub_diffusers.model:DiffusersModel",
            "The network of a diffusers pipeline, read from a local folder.",
        ),
        Entry(
            "process",
            "diffusers",
            "samplerhub_diffusers.process:DiffusersProcess",
            "The discrete process of a diffusers scheduler, with the index of its table as time.",
        ),
    ]
