#!/bin/sh
echo "cannot reach the API" >&2
exit 3
