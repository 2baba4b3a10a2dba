"""The traits of a session: what panels observe."""

from traitlets import Bool, Dict, Float, HasTraits, Instance, Int, Tuple, Unicode

from explorer.instances import Instances
from explorer.records import Outcomes, Runs, Scored, Training
from explorer.strings import Message
from explorer.values import Cost, Estimate, Plan, Recovery, Request, Scores


class SessionState(HasTraits):
    """What was asked for, and what is known of it so far. Only the session writes it, on any thread.

    `request` is the last one that could be answered; `plan`, `cost` and `share` (of its cost) belong to it, and
    `recovery` is what was done to the weights that are shown: at rest a refit is one layer after layer, and while
    refits are being prepared (`preparing` says how far) it is less than was asked for. `given` is what the choices of
    *After cutting* give, by code (`Given`). `custom`: widths were set by hand and Keep only says what they come to.
    `estimate` may belong to an earlier state: then `current` is False; `estimate_label` and `estimate_share` say which.
    `reference` is the accuracy of the reference state, `outcomes` compares it with ours, image by image,
    `scored` does where the images have no classes. `reach` is the
    smallest and the largest share that *Keep* can reach, `error` empty while nothing is wrong. `runs` are the
    trainings of methods, told about three times a second, and their runs that ship for this network.

    `instances` are the subnetworks of single images that `instance_source` ("active", "recorded" or "own", "" for
    none) keeps at `instance_level`: None until all images have run, a trial while they run at another level;
    `instance_estimate` is the accuracy at this level so far. `picked` are none, one or two of the images, positions
    among the explore images.
    """

    request = Instance(Request)
    plan = Instance(Plan)
    cost = Instance(Cost)
    recovery = Instance(Recovery, ())
    share = Float(1.0)
    custom = Bool(False)
    scores = Instance(Scores, allow_none=True)
    reach = Tuple(Float(), Float(), default_value=(0.0, 1.0))
    estimate = Instance(Estimate, allow_none=True)
    estimate_label = Instance(Message)
    estimate_share = Float(1.0)
    current = Bool(True)
    reference = Instance(Estimate, allow_none=True)
    reference_plan = Instance(Plan)
    reference_cost = Instance(Cost)
    reference_is_dense = Bool(True)
    outcomes = Instance(Outcomes, allow_none=True)
    scored = Instance(Scored, allow_none=True)
    selection = Unicode()
    layer = Unicode()
    can_undo = Bool(False)
    can_redo = Bool(False)
    visits = Tuple()
    at = Int(None, allow_none=True)
    training = Instance(Training, allow_none=True)
    runs = Instance(Runs, ())
    instances = Instance(Instances, allow_none=True)
    instance_estimate = Instance(Estimate, allow_none=True)
    instance_source = Unicode()
    instance_level = Float(1.0)
    picked = Tuple()
    final_checks = Tuple()
    sensitivity = Dict(None, allow_none=True)
    bands = Tuple()
    sweeping = Unicode()
    preparing = Instance(Message, allow_none=True)
    given = Dict()
    latency = Tuple()
    stage = Instance(Message)
    status = Instance(Message)
    error = Unicode()
