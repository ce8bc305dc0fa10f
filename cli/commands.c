/* The table of commands (command.h). */
#include "cli/command.h"

#include <stddef.h>

#define SETTINGS                                                                                   \
	"KEY is a key of the configuration file, see weft.yaml(5); KEY=VALUE and\n"                \
	"--KEY=VALUE are the same as --KEY VALUE; --isolated and --transparent alone mean\n"       \
	"true, and --null needs no value.\n"

const struct command commands[] = {
	{ "show", "networks|ports|macs|drops|workers [NAME] [--all] [--json]",
	  "show what the switch has and does",
	  "With a NAME, everything about that network or port, the macs of that network,\n"
	  "or the drops of that port. `show drops --all` lists every reason for which a\n"
	  "frame can be dropped, counted or not.\n"
	  "--json prints what the API answers; docs/api.md explains each key.\n",
	  "networks ports macs drops workers --all --json", command_show },
	{ "top", "[-n SECONDS] [--count N] [--once] [--json]",
	  "show live what ports and workers do",
	  "Packets, bits and drops a second of each port, the busiest first, both ways\n"
	  "(RECEIVED: from the port into the switch); of each worker how busy it is, frames\n"
	  "in a burst, and cycles a frame by stage. -n: how often, default every second.\n"
	  "q ends it, and so does --count N after N times; --once is --count 1. --json prints\n"
	  "one object on a line each time.\n",
	  "-n --count --once --json", command_top },
	{ "apply", "FILE [--json]", "make the switch equal to a configuration file",
	  "Changes only what differs and prints it: + added, - removed, ~ changed (keys).\n"
	  "Ports that stay the same are not touched. FILE - is the standard input.\n",
	  "--json", command_apply },
	{ "diff", "FILE [--json]", "show what apply would change",
	  "+ added, - removed, ~ changed (keys). FILE - is the standard input.\n", "--json",
	  command_diff },
	{ "check", "FILE...", "check configuration files, with no weftd running",
	  "Prints every error as FILE:LINE: KEY: what is wrong; what is allowed.\n", "",
	  command_check },
	{ "port add", "NAME --network NETWORK --TYPE VALUE [--KEY VALUE]...", "add a port",
	  "For example: weft port add vm1 --network lab --vhost-user /run/weft/vm1.sock\n" SETTINGS
	  "--tap-fd N passes the open tap device N to weftd.\n",
	  "--network --vhost-user --role --queues --mtu --tap --tap-fd --pcap --null --vlan "
	  "--vlans "
	  "--native --isolated --mac",
	  command_port_add },
	{ "port del", "NAME", "remove a port", "", "", command_port_del },
	{ "network add", "NAME --mode bridge|isolated [--KEY VALUE]...", "add a network",
	  "For example: weft network add lab --mode bridge --uplink '{tap: weft0}'\n" SETTINGS,
	  "--mode --transparent --uplink --macs", command_network_add },
	{ "network del", "NAME", "remove a network that no port uses", "", "",
	  command_network_del },
	{ "qemu-args", "PORT... [--memory SIZE] [--json]",
	  "print the QEMU arguments that plug a guest into ports",
	  "Ready for use: qemu-system-x86_64 $(weft qemu-args vm1 --memory 1G) ...\n"
	  "It includes -m and the shared memory weftd needs; SIZE is 512M if not given.\n",
	  "--memory --json", command_qemu_args },
	{ "completion", "", "print a completion script for bash",
	  "To use it: eval \"$(weft completion)\"\n", "", command_completion },
	{ NULL },
};
