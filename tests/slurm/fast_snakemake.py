"""snakemake for tests: asks SLURM for its jobs every second.

The plugin waits 20 s and longer between its looks, for which there is no option. Everything else is
the plugin as it is.
"""

import sys

from snakemake.cli import main
from snakemake_executor_plugin_slurm import Executor

Executor.next_seconds_between_status_checks = property(lambda self: 1, lambda self, value: None)
sys.exit(main())
