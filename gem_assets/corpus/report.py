"""What an ingest reports: counts that add up, file by file."""

from pydantic import BaseModel, ConfigDict, Field


class AccountingError(RuntimeError):
    """Records went missing between reading and writing: a fault of ours, never of the data. Names the file."""


class FileReport(BaseModel):
    """Counts of one landed file: ``read = kept + duplicates + filtered + quarantined``.

    ``skipped`` records (requests, images, …) carry no document and are not among the read ones.
    """

    model_config = ConfigDict(frozen=True)

    file: str
    read: int
    kept: int
    duplicates: int
    filtered: int
    quarantined: int
    skipped: dict[str, int]
    n_bytes: int = Field(description="UTF-8 bytes of the kept texts.")


class IngestReport(BaseModel):
    """What one snapshot gave.

    Attributes
    ----------
    n_files
        Landed files, whatever they held; 0 is a snapshot without files, which is not the same as ``kept == 0``.
    unread
        Documents whose given date or language was not understood, by field; ``day and month`` where ``03/04/2023``
        leaves open which is which, and the year is kept.
    hung
        Files whose reader had to be stopped again and again.
    died
        Files whose reader ended again and again.
    """

    model_config = ConfigDict(frozen=True)

    snapshot: str
    n_files: int
    read: int
    kept: int
    duplicates: dict[str, int]
    filtered: dict[str, int]
    quarantined: dict[str, int]
    skipped: dict[str, int]
    n_bytes: int
    n_tokens: int
    languages: dict[str, int]
    tokenizer: str
    shards: list[str]
    files: list[FileReport]
    unread: dict[str, int] = {}
    hung: list[str] = []
    died: list[str] = []

    @property
    def n_duplicates(self) -> int:
        """Dropped places of all kinds."""
        return sum(self.duplicates.values())

    @property
    def n_filtered(self) -> int:
        """Documents refused by a setting."""
        return sum(self.filtered.values())

    @property
    def n_quarantined(self) -> int:
        """Records that could not be read."""
        return sum(self.quarantined.values())


def check_accounts(report: IngestReport) -> None:
    """Make sure that every record read is kept, a duplicate, filtered or quarantined.

    Raises AccountingError naming the first file whose counts do not add up.
    """
    for file in report.files:
        found = file.kept + file.duplicates + file.filtered + file.quarantined
        if file.read != found:
            raise AccountingError(
                f"{report.snapshot}/{file.file}: {file.read} records read, but {file.kept} kept + {file.duplicates} "
                f"duplicates + {file.filtered} filtered + {file.quarantined} quarantined = {found}; nothing is "
                "published. Please report this with the file"
            )
    totals = (report.kept, report.n_duplicates, report.n_filtered, report.n_quarantined)
    if report.read != sum(totals):
        raise AccountingError(f"{report.snapshot}: {report.read} records read, but {totals} accounted for")
