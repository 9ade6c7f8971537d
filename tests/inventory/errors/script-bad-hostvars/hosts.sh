#!/bin/sh
echo '{"web": ["h1", "h2"], "_meta": {"hostvars": {"h1": ["a"]}}}'
