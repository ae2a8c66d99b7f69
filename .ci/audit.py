"""Known vulnerabilities of the pinned packages: ``python .ci/audit.py PIP_AUDIT constraints.txt``.

Exit code 1 when one is known. Where no vulnerability service answers (a machine behind a mirror), pip-audit skips every
package and calls that clean; here it is said, and nothing is taken for audited.
"""

import json
import subprocess
import sys


def audit(program: str, requirements: str, service: str) -> tuple[list[str], int, int] | None:
    """Return faults, packages audited and packages skipped by one service; None when it gave no answer."""
    command = [program, "-r", requirements, "--no-deps", "--disable-pip", "-f", "json", "-s", service]
    done = subprocess.run([*command, "--progress-spinner", "off"], capture_output=True, text=True, check=False)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        return None
    known = [
        f"{package['name']} {package['version']}: {fault['id']}, fixed in {', '.join(fault['fix_versions']) or 'none'}"
        for package in packages
        for fault in package.get("vulns", [])
    ]
    skipped = sum("skip_reason" in package for package in packages)
    return known, len(packages) - skipped, skipped


def main(program: str, requirements: str) -> int:
    """Ask the services in turn until one knows the packages."""
    for service in ("pypi", "osv"):
        found = audit(program, requirements, service)
        if found is None or found[1] == 0:
            continue
        known, audited, skipped = found
        print("\n".join(known) or "No known vulnerabilities.")
        print(f"{audited} packages audited by {service}, {skipped} unknown to it.")
        return 1 if known else 0
    print("No vulnerability service answers from here: nothing was audited.")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
