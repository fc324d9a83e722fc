#!/usr/bin/env bash
# Sign-ins as JSON lines on standard output: ordinary ones, now and then a burst of failures for one user from one
# address, and rarely a line that is not JSON.
#
#   signins.sh [EVENTS [PAUSE_SECONDS]]     without EVENTS it goes on for ever
set -euo pipefail

events="${1:-0}"
pause="${2:-0.2}"
users=(ada grace edsger barbara donald margaret)
applications=(mail wiki payroll vpn)

sign_in() {
    printf '{"time":"%s","user_name":"%s","src_ip":"%s","application":"%s","status":"%s"}\n' \
        "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$1" "$2" "${applications[RANDOM % ${#applications[@]}]}" "$3"
}

written=0
while ((events == 0 || written < events)); do
    user="${users[RANDOM % ${#users[@]}]}"
    written=$((written + 1))
    if ((written % 60 == 0)); then
        attacker="203.0.113.$((RANDOM % 16 + 1))"
        for _ in 1 2 3 4 5 6 7 8; do
            sign_in "$user" "$attacker" Failure
        done
    elif ((written % 97 == 0)); then
        echo '{"time":"cut off in the middle of a li'
    else
        sign_in "$user" "10.0.0.$((RANDOM % 200 + 1))" Success
    fi
    sleep "$pause"
done
