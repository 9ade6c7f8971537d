#!/bin/sh
echo '{"web": {"hosts": "h1"}, "db": {"hosts": [1]}, "x": {"vars": []}, "y": {"children": "z"}, "w": 3, "_meta": {"hostvars": {}}}'
