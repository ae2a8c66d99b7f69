"""What a shard of a stage asks of the machines that it runs on."""

from pydantic import Field

from gem_assets.frozen import Frozen


class StageResources(Frozen):
    """Resources of one shard; no identity holds them, so that they change no result."""

    cpus: float = Field(
        default=1.0, gt=0, le=4096, description="Cores that a shard keeps busy; may be a fraction on Ray."
    )
    gpus: float = Field(default=0.0, ge=0, le=64, description="GPUs that a shard wants; may be a fraction on Ray.")
    memory_mb: int = Field(
        default=0,
        ge=0,
        description="MiB that a shard needs and may use; 0 means worker_memory_mb, or what the machine can spare.",
    )
