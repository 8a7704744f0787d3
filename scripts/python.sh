#!/bin/sh
# Prints the Python to build the project's environment with: the first of the usual names that is 3.11 or newer.
# PYTHON=/path/to/python chooses another. Exit 1 and one sentence when there is none.
found=""
for name in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python3.14 python; do
    command -v "$name" >/dev/null 2>&1 || continue
    version=$("$name" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
    if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        command -v "$name"
        exit 0
    fi
    found="$found $name=$version"
done
echo "Greenroom needs Python 3.11 or newer (found:${found:- none});" \
    "install one (Debian: apt-get install python3.11 python3.11-venv) or name it: make PYTHON=/path/to/python setup" >&2
exit 1
