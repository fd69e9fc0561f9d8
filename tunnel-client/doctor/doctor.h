/*
 * `tunnel-client doctor`: checks one layer of the way to the brokers after the other, says for each
 * what it found and how long it took, and then what to do.
 *
 * It goes the way that the tunnel goes: the uplink dials, and streams of its session ask the
 * brokers what a Kafka client asks first. It listens on no port, so that it can be used beside a
 * client that runs.
 */
#pragma once

#include "options.h"

struct worker;

/* Runs the loop; returns the exit code (diagnosis.h). */
int doctor_run(struct worker *worker, const struct options *options);
