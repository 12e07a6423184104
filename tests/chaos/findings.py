"""What a check found."""

from dataclasses import dataclass, field


@dataclass
class Finding:
    """One invariant: how often it was broken, and the first cases."""

    name: str
    cases: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        shown = f"  such as {'; '.join(self.cases[:3])}" if self.cases else ""
        return f"{self.name:<36} {len(self.cases)}{shown}"
