"""A GraphQL client that asks the webserver for what its buttons ask for."""

import time
from typing import Any

import httpx

LAUNCH = """
mutation Launch($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
    ... on UnauthorizedError { message }
  }
}
"""
LAUNCH_RUN = """
mutation LaunchRun($config: RunConfigData!) {
  launchRun(executionParams: {
    selector: {
      repositoryLocationName: "gem_assets", repositoryName: "__repository__", jobName: "__ASSET_JOB",
      assetSelection: [{path: ["raw_shards"]}]
    }
    runConfigData: $config
    mode: "default"
  }) { __typename }
}
"""
RUNS = """
query Runs($backfill: String!) {
  runsOrError(filter: {tags: [{key: "dagster/backfill", value: $backfill}]}) {
    ... on Runs { results { runId status } }
  }
}
"""
ADD_PARTITION = """
mutation Add($partition: String!) {
  addDynamicPartition(
    repositorySelector: {repositoryLocationName: "gem_assets", repositoryName: "__repository__"}
    partitionsDefName: "snapshot"
    partitionKey: $partition
  ) {
    __typename
    ... on UnauthorizedError { message }
    ... on PythonError { message }
  }
}
"""
MATERIALIZATIONS = """
query Latest($key: AssetKeyInput!, $partitions: [String!]) {
  assetNodeOrError(assetKey: $key) {
    ... on AssetNode { latestMaterializationByPartition(partitions: $partitions) {
      partition runId
      metadataEntries { label ... on IntMetadataEntry { intValue } ... on BoolMetadataEntry { boolValue } }
    } }
  }
}
"""


class Client:
    """Speaks to one webserver."""

    def __init__(self, url: str) -> None:
        self._url = f"{url}/graphql"

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        answer = httpx.post(self._url, json={"query": query, "variables": variables}, timeout=120).json()
        assert "errors" not in answer, answer["errors"]
        return answer["data"]

    def launch_partition(self, asset: str, partition: str) -> str:
        """Press *Materialize* for one partition; returns the id of what was launched."""
        params = {"assetSelection": [{"path": [asset]}], "partitionNames": [partition], "tags": []}
        launched = self.ask(LAUNCH, params=params)["launchPartitionBackfill"]
        assert launched["__typename"] == "LaunchBackfillSuccess", launched
        return launched["backfillId"]

    def wait_for_run(self, backfill: str, seconds: float = 300) -> dict[str, Any]:
        """Wait until the run of a launch has ended."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            runs = self.ask(RUNS, backfill=backfill)["runsOrError"]["results"]
            if runs and all(run["status"] in ("SUCCESS", "FAILURE", "CANCELED") for run in runs):
                return runs[0]
            time.sleep(1)
        raise AssertionError(f"launch {backfill} has not ended after {seconds} s")

    def latest(self, asset: str, partition: str) -> dict[str, Any]:
        """Return the latest materialization of one partition."""
        node = self.ask(MATERIALIZATIONS, key={"path": [asset]}, partitions=[partition])["assetNodeOrError"]
        return node["latestMaterializationByPartition"][0]
