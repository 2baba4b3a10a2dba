"""Where recorded instance subnetworks were read before they were recorded runs like all others."""

raise ImportError(
    "Write from explorer.methods.recording import read_recorded, read_network: "
    "read_recorded(net, graph, 'manidp').evidence has the effects and rivals, read_network(net, graph, 'manidp') is "
    "the network."
)
