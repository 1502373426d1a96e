"""The samplers of k-diffusion, azula and diffusers, offered where the library can be found; none is imported here."""

from importlib.util import find_spec

from samplerhub.plugin import Entry, hookimpl

KDIFFUSION = [
    ("euler", "one_step:Euler", "Euler's method of EDM, by k-diffusion's sample_euler."),
    (
        "euler-ancestral",
        "one_step:EulerAncestral",
        "Ancestral sampling by Euler steps, by k-diffusion's sample_euler_ancestral.",
    ),
    ("heun", "one_step:Heun", "Heun's method of EDM, by k-diffusion's sample_heun."),
    ("dpm-2", "one_step:DPM2", "A midpoint method after DPM-Solver-2 and EDM, by k-diffusion's sample_dpm_2."),
    (
        "dpm-2-ancestral",
        "one_step:DPM2Ancestral",
        "Ancestral sampling by steps of second order, by k-diffusion's sample_dpm_2_ancestral.",
    ),
    (
        "dpmpp-2s-ancestral",
        "one_step:DPMPP2SAncestral",
        "Ancestral sampling by DPM-Solver++(2S), by k-diffusion's sample_dpmpp_2s_ancestral.",
    ),
    (
        "dpmpp-sde",
        "one_step:DPMPPSDE",
        "Stochastic DPM-Solver++ with an evaluation inside each step, by k-diffusion's sample_dpmpp_sde.",
    ),
    ("lms", "multistep:LMS", "Adams-Bashforth in the noise level, by k-diffusion's sample_lms."),
    ("dpmpp-2m", "multistep:DPMPP2M", "DPM-Solver++(2M), by k-diffusion's sample_dpmpp_2m."),
    ("dpmpp-2m-sde", "multistep:DPMPP2MSDE", "SDE-DPM-Solver++(2M), by k-diffusion's sample_dpmpp_2m_sde."),
    ("dpmpp-3m-sde", "multistep:DPMPP3MSDE", "SDE-DPM-Solver++(3M), by k-diffusion's sample_dpmpp_3m_sde."),
]
"""Name, where in its folder the class is, and the first line of its docstring."""

AZULA = [
    ("ddpm", "one_step:DDPM", "Ancestral sampling, by azula's DDPMSampler."),
    ("ddim", "one_step:DDIM", "DDIM, by azula's DDIMSampler."),
    ("euler", "one_step:Euler", "Euler's method in the noise level, by azula's EulerSampler."),
    ("heun", "one_step:Heun", "Heun's method in the noise level, by azula's HeunSampler."),
    ("ito", "one_step:Ito", "Exponential Euler of the reverse SDE, by azula's ItoSampler."),
    ("pc", "one_step:PC", "A DDIM step after Langevin corrections, by azula's PCSampler."),
    ("zab", "multistep:ZAB", "Adams-Bashforth of the noise in the noise level, by azula's zABSampler."),
    ("vab", "multistep:VAB", "Adams-Bashforth of the velocity of a straight path, by azula's vABSampler."),
    ("zeab", "multistep:ZEAB", "Exponential Adams-Bashforth of the noise in log-SNR, by azula's zEABSampler."),
    ("xeab", "multistep:XEAB", "Exponential Adams-Bashforth of the data in log-SNR, by azula's xEABSampler."),
    ("reab", "multistep:REAB", "Rosenbrock-type exponential Adams-Bashforth, by azula's REABSampler."),
]
"""As above."""

DIFFUSERS = [
    ("euler", "exploding:Euler", "Euler's method of EDM, by diffusers' EulerDiscreteScheduler."),
    (
        "euler-ancestral",
        "exploding:EulerAncestral",
        "Ancestral sampling by Euler steps, by diffusers' EulerAncestralDiscreteScheduler.",
    ),
    ("heun", "exploding:Heun", "Heun's method of EDM, by diffusers' HeunDiscreteScheduler."),
    ("kdpm2", "exploding:KDPM2", "A midpoint method after DPM-Solver-2 and EDM, by diffusers' KDPM2DiscreteScheduler."),
    (
        "kdpm2-ancestral",
        "exploding:KDPM2Ancestral",
        "Ancestral sampling by steps of second order, by diffusers' KDPM2AncestralDiscreteScheduler.",
    ),
    (
        "dpm-sde",
        "exploding:DPMSDE",
        "Stochastic DPM-Solver++ with an evaluation inside each step, by diffusers' DPMSolverSDEScheduler.",
    ),
    ("lms", "exploding:LMS", "Adams-Bashforth in the noise level, by diffusers' LMSDiscreteScheduler."),
    ("edm-euler", "exploding:EDMEuler", "Euler's method with EDM's preconditioning, by diffusers' EDMEulerScheduler."),
    (
        "edm-dpm",
        "exploding:EDMDPM",
        "DPM-Solver++ with EDM's preconditioning, by diffusers' EDMDPMSolverMultistepScheduler.",
    ),
    ("dpm", "preserving:DPM", "DPM-Solver and DPM-Solver++, multistep, by diffusers' DPMSolverMultistepScheduler."),
    (
        "dpm-single",
        "preserving:DPMSingle",
        "DPM-Solver and DPM-Solver++, single step, by diffusers' DPMSolverSinglestepScheduler.",
    ),
    ("deis", "preserving:DEIS", "DEIS in log-SNR, by diffusers' DEISMultistepScheduler."),
    ("unipc", "preserving:UniPC", "UniPC, by diffusers' UniPCMultistepScheduler."),
    ("sa", "preserving:SA", "SA-Solver, a stochastic Adams method, by diffusers' SASolverScheduler."),
    ("ipndm", "preserving:IPNDM", "Improved pseudo linear multistep, by diffusers' IPNDMScheduler."),
    ("ddim", "discrete:DDIM", "DDIM, by diffusers' DDIMScheduler."),
    ("ddpm", "discrete:DDPM", "Ancestral sampling, by diffusers' DDPMScheduler."),
    (
        "flow-euler",
        "flow:FlowEuler",
        "Euler's method of a rectified flow, by diffusers' FlowMatchEulerDiscreteScheduler.",
    ),
    ("flow-heun", "flow:FlowHeun", "Heun's method of a rectified flow, by diffusers' FlowMatchHeunDiscreteScheduler."),
]
"""As above."""

LIBRARIES = {
    "k_diffusion": ("kdiffusion", KDIFFUSION),
    "azula": ("azula", AZULA),
    "diffusers": ("diffusers", DIFFUSERS),
}
"""By the module that has to be there: the prefix of the names, which is also the folder, and the samplers."""


@hookimpl
def samplerhub_entries() -> list[Entry]:
    """Offer the samplers of every library that can be found."""
    return [
        Entry("sampler", f"{prefix}-{name}", f"samplerhub_peers.{prefix}.{target}", summary)
        for module, (prefix, samplers) in LIBRARIES.items()
        if find_spec(module) is not None
        for name, target, summary in samplers
    ]
