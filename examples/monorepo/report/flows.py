"""Reports on the orders in a bucket."""

from prefect import flow, get_run_logger


@flow
def report(bucket: str, rows: int = 100) -> None:
    """Report on the newest orders.

    Args:
        bucket: Where the orders are stored.
        rows: How many orders the report shows.
    """
    get_run_logger().info("the %s newest orders of %s", rows, bucket)
