"""All of this folder with other versions of Django than the installed one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import django_versions

INSIDE = "ZEPH_DJANGO_VERSION"
HERE = Path(__file__).parent


if INSIDE in os.environ:

    def test_the_inner_run_has_the_version_that_it_is_for() -> None:
        import django

        assert ".".join(map(str, django.VERSION[:2])) == os.environ[INSIDE]

else:

    @pytest.mark.parametrize("name", django_versions.others())
    @pytest.mark.timeout(300)
    def test_it_works_with_django(name: str) -> None:
        path = os.pathsep.join([django_versions.folder_of(name), *filter(None, [os.environ.get("PYTHONPATH")])])
        words = ["-X", "dev", "-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE)]

        done = subprocess.run(
            [sys.executable, *words],
            cwd=HERE.parents[2],
            env=os.environ | {"PYTHONPATH": path, INSIDE: name},
            capture_output=True,
            text=True,
            timeout=280,
        )

        assert done.returncode == 0, done.stdout + done.stderr
