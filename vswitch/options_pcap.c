/* What a pcap port may say in the configuration: its table of keys, used by port_pcap.c through the
 * port contract. Control thread, weftd --check, fuzzer. */
#include "vswitch/config_values.h"
#include "vswitch/options.h"

static int read_replay(const char *file, const struct config_node *value, void *out,
		       struct error *error)
{
	struct pcap_options *pcap = &((struct port_config *)out)->options.pcap;

	return config_node_text(file, value, pcap->replay, sizeof(pcap->replay), error);
}

static int read_record(const char *file, const struct config_node *value, void *out,
		       struct error *error)
{
	struct pcap_options *pcap = &((struct port_config *)out)->options.pcap;

	return config_node_text(file, value, pcap->record, sizeof(pcap->record), error);
}

static int read_speed(const char *file, const struct config_node *value, void *out,
		      struct error *error)
{
	static const char *const words[] = {
		[PCAP_SPEED_FULL] = "full",
		[PCAP_SPEED_RECORDED] = "recorded",
		NULL,
	};
	struct port_config *port = out;
	unsigned word;
	int rc = config_node_word(file, value, words, &word, error);

	if (rc == 0)
		port->options.pcap.speed = (enum pcap_speed)word;
	return rc;
}

static int read_loops(const char *file, const struct config_node *value, void *out,
		      struct error *error)
{
	struct port_config *port = out;

	return config_value_u32(file, value, 0, UINT32_MAX, &port->options.pcap.loops, error);
}

static const struct config_key inner_keys[] = {
	{ .name = "replay", .read = read_replay, .help = "capture file to send into the network" },
	{ .name = "record", .read = read_record, .help = "pcapng file to write what arrives to" },
	{ .name = "speed", .read = read_speed, .help = "of the replay: full or recorded" },
	{ .name = "loops", .read = read_loops, .help = "times to replay the file; 0: for ever" },
	{ 0 },
};

static int read_pcap(const char *file, const struct config_node *value, void *out,
		     struct error *error)
{
	static const struct config_key *const tables[] = { inner_keys };
	struct port_config *port = out;
	int rc = config_node_read(file, value, "pcap", tables, 1, out, error);

	if (rc != 0)
		return rc;
	if (port->options.pcap.replay[0] == '\0' && port->options.pcap.record[0] == '\0')
		return config_error(
		    file, value, error,
		    "neither replays nor records; allowed: replay, record, or both");
	return 0;
}

const struct config_key port_pcap_keys[] = {
	/* Compared as a whole; `record` opens the struct, and one file has one writer. */
	{ .name = "pcap",
	  .read = read_pcap,
	  .required = true,
	  .help = "{replay: FILE, record: FILE, speed: full|recorded, loops: N}",
	  .offset = offsetof(struct port_config, options.pcap),
	  .size = sizeof(struct pcap_options),
	  .unique = "record file" },
	{ 0 },
};

void port_pcap_defaults(struct port_config *config)
{
	config->options.pcap.speed = PCAP_SPEED_FULL;
	config->options.pcap.loops = 1;
}
