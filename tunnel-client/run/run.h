/*
 * The command `run`: waits until the tunnel is ready, runs a command with it, and ends the program
 * when the command has ended, with its exit code. What keeps the tunnel from coming up is said in
 * one sentence.
 */
#pragma once

#include "listeners/ports.h"
#include "options.h"
#include "program/program.h"
#include "terminal.h"

struct run;

/* Starts the clock of --ready-timeout. ports: must be open before the tunnel is up. terminal: may
 * be NULL. started: no process is needed for the command any more, because it runs or cannot. */
struct run *run_new(const struct program_context *context, const struct options *options,
                    struct ports *ports, struct terminal *terminal,
                    void (*started)(void *started_context), void *started_context);
void run_free(struct run *run);

/* The tunnel is up, and the server knows all names: the command starts. Only the first call counts.
 * If brokers keep their names, listeners are at these already. */
void run_ready(struct run *run);
/* One attempt to reach the server has failed. final: the next one would fail as well. */
void run_failed(struct run *run, const char *hop, const char *reason, bool final);
/* Whether the command has not started yet. */
bool run_is_waiting(const struct run *run);
/* Passes a signal on to the command. false: there is none, the program is to end. */
bool run_signalled(struct run *run, int number, bool from_terminal);
/* Brokers' names have got listeners: the command's hosts file leads there from now on. false: it
 * does not lead all of them there (kept_name.published), which has been logged. */
bool run_publish_names(struct run *run);
int run_exit_code(const struct run *run);
