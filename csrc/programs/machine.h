/* SPDX-License-Identifier: Apache-2.0
 *
 * Machines as systemd-machined has them registered.
 */
#pragma once

/* Unregisters what an earlier run of the unit has left. A systemd-nspawn that was killed leaves its machine registered, and
 * systemd-machined keeps that as long as the unit is active, which it is while systemd starts it again: nspawn would be told
 * that the name is taken. */
void forget_machine(const char *unit);
