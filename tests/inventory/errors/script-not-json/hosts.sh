#!/bin/sh
echo "careful" >&2
echo "web: h1"
