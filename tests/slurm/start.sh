#!/usr/bin/env bash
# A SLURM of one node on this machine, for tests: Debian's packages, as root, everything in one folder.
#   bash tests/slurm/start.sh FOLDER    then: export SLURM_CONF=FOLDER/slurm.conf
#   bash tests/slurm/start.sh FOLDER stop
set -euo pipefail
folder=$(realpath -m "${1:?folder of the SLURM}")
export SLURM_CONF="$folder/slurm.conf"

stop() {
    for name in slurmctld slurmd; do
        [ -s "$folder/$name.pid" ] && kill "$(cat "$folder/$name.pid")" 2>/dev/null || true
    done
}

if [ "${2:-}" = stop ]; then
    stop
    exit 0
fi

install() {
    [ "$(id -u)" = 0 ] || return 1
    command -v slurmctld > /dev/null && command -v slurmd > /dev/null && command -v munged > /dev/null && return
    command -v apt-get > /dev/null || return 1
    timeout 120 apt-get update -qq && DEBIAN_FRONTEND=noninteractive timeout 180 apt-get install -y -qq slurm-wlm munge
}

if ! install > /dev/null 2>&1; then
    echo "no SLURM: it takes root, and Debian's packages slurm-wlm and munge" >&2
    exit 77
fi

mkdir -p "$folder"/{state,spool} /run/munge
chown munge: /run/munge
pgrep -x munged > /dev/null || runuser -u munge -- munged

cores=$(nproc)
cat > "$SLURM_CONF" <<CONF
ClusterName=tests
SlurmctldHost=$(hostname -s)(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=cred_expire=5
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=1,batch_sched_delay=0
MinJobAge=300
KillWait=5
ReturnToService=2
SlurmctldPort=16817
SlurmdPort=16818
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
NodeName=$(hostname -s) NodeAddr=127.0.0.1 CPUs=$cores RealMemory=4000 State=UNKNOWN
PartitionName=cpu Nodes=ALL Default=YES MaxTime=INFINITE State=UP
PartitionName=shut Nodes=ALL MaxTime=INFINITE State=DOWN
CONF

stop
slurmctld
slurmd
for _ in $(seq 100); do
    [ "$(sinfo --noheader --partition=cpu --format=%t 2> /dev/null)" = idle ] && exit 0
    sleep 0.2
done
echo "SLURM does not start: see $folder/*.log" >&2
tail -5 "$folder"/*.log >&2
exit 1
