#!/bin/bash
# SPDX-License-Identifier: MIT
# 1,000 forks, and some programs started: forks.sh FORKS PROGRAMS
set -u
sum=0
for ((i = 0; i < $1; i++)); do
    x=$(echo "$i")
    sum=$((sum + x))
done
echo "sum $sum"
declare -A seen
for ((i = 0; i < $2; i++)); do
    /bin/true || exit 1
    seen[$((i % 10))]=$i
done
echo "programs ${#seen[@]}"
for ((i = 0; i < 10; i++)); do
    (exit $((i * 3))) || echo -n "$? "
done | cat
echo
words=$(seq 1 200 | sed 's/$/ word/' | tr '\n' ';' | cut -c1-40)
echo "$words"
kill -0 $$ && (sleep 0.01 & wait) && echo waited
