"""What makes the graph move: the landing sensor and the automation conditions."""

from sensors.conditions import automation, with_policy
from sensors.landing import landing_sensor

__all__ = ["automation", "landing_sensor", "with_policy"]
