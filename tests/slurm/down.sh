#!/usr/bin/env bash
# down.sh FOLDER - cancel the jobs of the cluster that up.sh started in FOLDER and stop its daemons, by
# process id and only those of this cluster. Safe to call twice; half a minute at the very worst.
set -euo pipefail

DIR=$1
[ -d "$DIR/run" ] || exit 0
export SLURM_CONF="$DIR/etc/slurm.conf"

ours() { { tr '\0' '\n' <"/proc/$1/environ"; } 2>/dev/null | grep -qxF "SLURM_CONF=$SLURM_CONF"; }
gone() { [ ! -d "/proc/$1" ] || grep -qs '^State:.[ZX]' "/proc/$1/status"; }
end() { # end SECONDS PID...: TERM, and KILL for what is still there then
    local limit=$((SECONDS + $1)) pid left
    shift
    for pid; do kill -TERM "$pid" 2>/dev/null || true; done
    while :; do
        left=()
        for pid; do gone "$pid" || left+=("$pid"); done
        [ ${#left[@]} -gt 0 ] || return 0
        [ "$SECONDS" -lt "$limit" ] || break
        sleep 0.1
    done
    kill -KILL "${left[@]}" 2>/dev/null || true
}
stop() {
    local pid
    pid=$(cat "$DIR/run/$1.pid" 2>/dev/null) || return 0
    if [ -n "$pid" ] && ! gone "$pid" && ours "$pid"; then end 10 "$pid"; fi
    rm -f "$DIR/run/$1.pid"
}
# Job steps of this cluster and all that they started. A step's environment is overwritten by its title;
# the log that it holds open tells whose it is.
steps() {
    local pid child todo=() found=()
    for pid in $(pgrep -x slurmstepd || true); do
        if find "/proc/$pid/fd" -maxdepth 1 -lname "$DIR/log/*" 2>/dev/null | grep -q .; then todo+=("$pid"); fi
    done
    while [ ${#todo[@]} -gt 0 ]; do
        pid=${todo[0]}
        todo=("${todo[@]:1}")
        gone "$pid" || found+=("$pid")
        for child in $(pgrep -P "$pid" || true); do todo+=("$child"); done
    done
    echo "${found[@]}"
}

# slurmd leaves running jobs alone when it stops, so they are cancelled first.
if timeout 5 scontrol ping 2>/dev/null | grep -q 'is UP'; then
    # shellcheck disable=SC2046
    timeout 10 scancel $(timeout 10 squeue -h -o %A | sort -u) 2>/dev/null || true
    limit=$((SECONDS + 12))
    while [ -n "$(timeout 5 squeue -h 2>/dev/null)" ] && [ "$SECONDS" -lt "$limit" ]; do sleep 0.2; done
fi
stop slurmd
rest=$(steps)
# shellcheck disable=SC2086
if [ -n "$rest" ]; then end 3 $rest; fi
for daemon in slurmctld slurmdbd mariadbd munged; do stop "$daemon"; done
if [ "$(readlink /etc/slurm/slurm.conf || true)" = "$SLURM_CONF" ]; then rm -f /etc/slurm/slurm.conf; fi
rm -f "$DIR/kind"
