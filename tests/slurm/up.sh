#!/usr/bin/env bash
# up.sh FOLDER [GPUS] [CPUS] [database] - start a real SLURM of one node on this machine, with invented
# GPUs. down.sh stops it. Loopback only, no systemd, nothing left outside FOLDER but the link
# /etc/slurm/slurm.conf. A cluster of the same kind that already runs in FOLDER is kept, any other is
# replaced: job numbers then start at 1 again.
#   database: MariaDB and slurmdbd too, so that sacct answers.
# Exit code 2: it cannot run here, for the reason told; 1: it should have, and did not.
set -euo pipefail

DIR=$1
GPUS=${2:-1}
CPUS=${3:-4}
DATABASE=${4:-}
# Not SLURM's own ports, in case another one runs here.
CONTROLLER_PORT=36817
NODE_PORT=36818
DATABASE_PORT=36819
NODE=$(hostname -s)
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
LINK=/etc/slurm/slurm.conf
export SLURM_CONF="$DIR/etc/slurm.conf"

cannot() {
    printf '%s\n' "$*" >&2
    exit 2
}
fail() {
    printf '%s\n' "$*" >&2
    local file
    for file in "$DIR"/log/*.log "$DIR"/log/*.out; do
        if [ -s "$file" ]; then printf -- '--- %s\n' "$file" >&2; tail -n 6 "$file" >&2; fi
    done
    bash "$HERE/down.sh" "$DIR" >&2 || true
    exit 1
}
# Whether a daemon of ours runs, by the configuration in its environment: process ids are used again.
alive() {
    local pid
    pid=$(cat "$DIR/run/$1.pid" 2>/dev/null) || return 1
    [ -n "$pid" ] && [ -d "/proc/$pid" ] || return 1
    { tr '\0' '\n' <"/proc/$pid/environ"; } 2>/dev/null | grep -qxF "SLURM_CONF=$SLURM_CONF"
}
# In a session of its own and without our descriptors: a pipe that a daemon holds never closes.
spawn() {
    local name=$1
    shift
    (
        cd /
        for descriptor in /proc/self/fd/*; do
            descriptor=${descriptor##*/}
            [ "$descriptor" -le 2 ] || eval "exec $descriptor>&-"
        done
        exec setsid "$@"
    ) </dev/null >>"$DIR/log/$name.out" 2>&1 &
    echo $! >"$DIR/run/$name.pid"
}
await() { # await SECONDS DAEMON COMMAND...
    local name=$2 end=$((SECONDS + $1))
    shift 2
    until "$@" >/dev/null 2>&1; do
        # Looked at once more: between fork and exec it still has this shell's own environment.
        alive "$name" || { sleep 1; alive "$name"; } || fail "$name ended while it started"
        [ "$SECONDS" -lt "$end" ] || fail "$name does not answer"
        sleep 0.2
    done
}
munge_answers() { timeout 5 munge -S "$DIR/munge/socket" -n | timeout 5 unmunge -S "$DIR/munge/socket"; }
node_is_ready() {
    case "$(timeout 10 sinfo -h -p main -o %T)" in idle | mixed | allocated | completing) ;; *) return 1 ;; esac
}

# Can it run here?
[ "$(uname -s)" = Linux ] || cannot "SLURM's daemons need Linux"
[ "$(id -u)" = 0 ] || cannot "starting SLURM's daemons needs root"
programs=(munged slurmctld slurmd sbatch)
packages="munge slurmctld slurmd slurm-client"
if [ -n "$DATABASE" ]; then
    programs+=(slurmdbd mariadbd mariadb)
    packages="$packages slurmdbd mariadb-server-core mariadb-client-core"
fi
for program in "${programs[@]}"; do
    command -v "$program" >/dev/null || cannot "$program is not installed; on Debian: apt-get install --no-install-recommends $packages"
done
# Snakemake's job step drops SLURM_CONF, so that inside of jobs this link alone tells where we are.
if { [ -e "$LINK" ] || [ -L "$LINK" ]; } && [ "$(readlink "$LINK")" != "$SLURM_CONF" ]; then
    cannot "$LINK is another cluster's"
fi
# An outer job's variables would change what sbatch and srun do.
for variable in ${!SLURM_@} ${!SBATCH_@} ${!SRUN_@}; do
    [ "$variable" = SLURM_CONF ] || unset "$variable"
done

want="$GPUS GPUs, $CPUS CPUs, $DATABASE"
if [ "$(cat "$DIR/kind" 2>/dev/null)" = "$want" ] && alive munged && alive slurmctld && alive slurmd \
    && { [ -z "$DATABASE" ] || { alive mariadbd && alive slurmdbd; }; } && munge_answers >/dev/null \
    && node_is_ready && [ -L "$LINK" ]; then
    exit 0
fi
if [ -d "$DIR/run" ]; then bash "$HERE/down.sh" "$DIR"; fi

# Configuration; what an earlier cluster saved goes, or its drained node would stay drained
rm -rf "$DIR"/{state,spool,kind}
mkdir -p "$DIR"/{etc,run,log,state,spool,munge,gpus}
chmod 755 "$DIR" "$DIR"/{etc,run,log,munge}
rm -f "$DIR"/log/*
[ -s "$DIR/etc/munge.key" ] || (umask 077 && head -c 1024 /dev/urandom >"$DIR/etc/munge.key")
# More memory than slurmd sees would drain the node.
memory=$(slurmd -C | sed -n 's/.*RealMemory=\([0-9]*\).*/\1/p')
[ -n "$memory" ] || fail "slurmd -C tells no memory"

# A GPU must be a character device: copies of /dev/null will do, as nothing here confines devices.
for ((i = 0; i < GPUS; i++)); do
    [ -c "$DIR/gpus/$i" ] || mknod "$DIR/gpus/$i" c 1 3 2>/dev/null || cannot "no device files can be made here"
    echo "NodeName=$NODE Name=gpu Type=a100 File=$DIR/gpus/$i"
done >"$DIR/etc/gres.conf"
accounting=AccountingStorageType=accounting_storage/none
if [ -n "$DATABASE" ]; then
    accounting="AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=localhost
AccountingStoragePort=$DATABASE_PORT
AccountingStoragePass=$DIR/munge/socket"
fi
# Only where the host's name is a loopback address can the daemons be bound to it.
loopback=
case "$(timeout 10 getent ahostsv4 "$(hostname)" | awk '{print $1; exit}')" in
    127.*) loopback='CommunicationParameters=NoCtldInAddrAny,NoInAddrAny' ;;
esac
cat >"$SLURM_CONF" <<CONF
ClusterName=test
SlurmctldHost=$NODE(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort=$CONTROLLER_PORT
SlurmdPort=$NODE_PORT
$loopback
AuthType=auth/munge
AuthInfo=socket=$DIR/munge/socket
CredType=cred/munge
StateSaveLocation=$DIR/state
SlurmdSpoolDir=$DIR/spool
SlurmctldPidFile=$DIR/run/slurmctld.own
SlurmdPidFile=$DIR/run/slurmd.own
SlurmctldLogFile=$DIR/log/slurmctld.log
SlurmdLogFile=$DIR/log/slurmd.log
MailProg=/bin/true
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=2,bf_interval=2
MinJobAge=3600
KillWait=5
MessageTimeout=20
SlurmctldTimeout=60
SlurmdTimeout=60
$accounting
GresTypes=gpu
NodeName=$NODE NodeAddr=127.0.0.1 CPUs=$CPUS RealMemory=$((memory * 9 / 10)) Gres=gpu:a100:$GPUS State=UNKNOWN
PartitionName=main Nodes=$NODE Default=YES MaxTime=INFINITE DefaultTime=00:10:00 State=UP
PartitionName=gpu Nodes=$NODE MaxTime=INFINITE DefaultTime=00:10:00 State=UP
CONF
mkdir -p "$(dirname "$LINK")"
ln -sfn "$SLURM_CONF" "$LINK"

# Daemons
SECONDS=0
spawn munged munged --foreground --num-threads=10 --key-file="$DIR/etc/munge.key" \
    --socket="$DIR/munge/socket" --pid-file="$DIR/run/munged.own" --log-file="$DIR/log/munged.log" \
    --seed-file="$DIR/munge/seed"
await 20 munged munge_answers

if [ -n "$DATABASE" ]; then
    socket="$DIR/run/mariadb.sock"
    client=(timeout 60 mariadb --no-defaults -uroot -S "$socket")
    if [ ! -d "$DIR/mysql/mysql" ]; then
        rm -rf "$DIR/mysql"
        mkdir -p "$DIR/mysql"
        timeout 120 mariadb-install-db --no-defaults --user=root --datadir="$DIR/mysql" --skip-test-db \
            --auth-root-authentication-method=normal >"$DIR/log/mariadb-install.log" 2>&1 </dev/null \
            || fail "mariadb-install-db failed"
    fi
    spawn mariadbd mariadbd --no-defaults --user=root --datadir="$DIR/mysql" --socket="$socket" \
        --skip-networking --pid-file="$DIR/run/mariadbd.own" --innodb-buffer-pool-size=64M \
        --innodb-lock-wait-timeout=900 --innodb-flush-log-at-trx-commit=0 --log-error="$DIR/log/mariadbd.log"
    await 60 mariadbd "${client[@]}" -e 'select 1'
    "${client[@]}" -e "drop database if exists slurm; create database slurm;
        create or replace user slurm@localhost identified by 'slurm';
        grant all on slurm.* to slurm@localhost;" || fail "MariaDB makes no database"
    rm -f "$DIR/etc/slurmdbd.conf"
    (umask 077 && cat >"$DIR/etc/slurmdbd.conf" <<CONF
AuthType=auth/munge
AuthInfo=socket=$DIR/munge/socket
DbdHost=localhost
DbdPort=$DATABASE_PORT
SlurmUser=root
LogFile=$DIR/log/slurmdbd.log
PidFile=$DIR/run/slurmdbd.own
${loopback/NoCtldInAddrAny,/}
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=slurm
StoragePass=slurm
StorageLoc=slurm
CONF
    )
    # slurmdbd has no setting for the database's socket; its client library reads this variable.
    MYSQL_UNIX_PORT=$socket spawn slurmdbd slurmdbd -D
    await 60 slurmdbd timeout 10 sacctmgr -n list cluster
    for what in "cluster test" "account test" "user root account=test"; do
        # shellcheck disable=SC2086
        timeout 20 sacctmgr -i add $what >>"$DIR/log/sacctmgr.out" 2>&1 || true
    done
    [ -n "$(timeout 10 sacctmgr -n list assoc user=root account=test format=user)" ] || fail "no account was made"
fi

spawn slurmctld slurmctld -D -i
await 30 slurmctld timeout 10 sinfo -h
spawn slurmd slurmd -D
await 30 slurmd node_is_ready
printf '%s' "$want" >"$DIR/kind"
