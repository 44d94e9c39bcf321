"""The job `cycle` and its schedule: everything from the sources to the write-back, in one process.

The steps are runs of their own (see `runs.cycle`), so each has its own log, lineage and outcome, and one that fails
does not stop the rest. The job's only op fails if any of them did.
"""

import dagster as dg
from datong_platform.settings import settings


@dg.op(description="Ingest every system, build, publish and write back.")
def run_cycle(context: dg.OpExecutionContext) -> None:
    """Run the cycle; dg.Failure names every step that failed."""
    from datong_assets import runs

    result = runs.cycle(lambda progress: context.log.info(runs.line(progress)), instance=context.instance)
    for step in result.steps:
        for error in step.errors:
            context.log.error(f"{step.name}: {error}")
    context.add_output_metadata(
        {
            **{f"rows_{layer}": rows for layer, rows in result.rows.items()},
            "quarantined_rows": result.quarantined,
            "write_backs_verified": result.verified,
            "write_backs_failed": result.failed,
            "seconds": result.seconds,
        }
    )
    if not result.ok:
        raise dg.Failure(
            description="\n".join(f"{step.name}: {error}" for step in result.steps for error in step.errors),
            allow_retries=False,
        )


@dg.job(description="The whole cycle: ingest every system, build, check, publish, write back, verify.")
def cycle() -> None:
    """The whole cycle."""
    run_cycle()


def schedule() -> dg.ScheduleDefinition:
    """The cycle, as often as DATONG_CYCLE_SCHEDULE says. Stopped until somebody switches it on in the UI."""
    return dg.ScheduleDefinition(
        name="cycle",
        job=cycle,
        cron_schedule=settings().cycle_schedule,
        description="Runs the whole cycle. DATONG_CYCLE_SCHEDULE (a cron expression) sets how often.",
        default_status=dg.DefaultScheduleStatus.STOPPED,
    )
