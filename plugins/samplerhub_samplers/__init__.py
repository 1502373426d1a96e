"""Reverse-time solvers, deterministic and stochastic."""

from samplerhub.plugin import Entry, hookimpl


@hookimpl
def samplerhub_entries() -> list[Entry]:
    """Offer the samplers."""
    return [
        Entry(
            "sampler",
            "ancestral",
            "samplerhub_samplers.ancestral:Ancestral",
            "A deterministic step to less noise than is wanted, and fresh noise for the rest.",
        ),
        Entry(
            "sampler",
            "angle",
            "samplerhub_samplers.angle:Angle",
            "Adams methods in the angle phi = atan(rho/sigma_data), in which the flow of Gaussian data stands still.",
        ),
        Entry(
            "sampler",
            "angle-covariance",
            "samplerhub_samplers.angle_covariance:AngleCovariance",
            "Adams methods in the angles of the principal directions of the data.",
        ),
        Entry(
            "sampler",
            "annealed-langevin",
            "samplerhub_samplers.annealed_langevin:AnnealedLangevin",
            "Annealed Langevin dynamics: at each noise level some Langevin steps, and nothing in between.",
        ),
        Entry(
            "sampler",
            "bogacki-shampine",
            "samplerhub_samplers.bogacki_shampine:BogackiShampine",
            "Adaptive Runge-Kutta method of order 3 for the probability-flow ODE, each sample with steps of its own.",
        ),
        Entry(
            "sampler",
            "ddim",
            "samplerhub_samplers.ddim:DDIM",
            "Euler's method in the noise level, which is the exponential Euler method for predicted noise.",
        ),
        Entry(
            "sampler",
            "ddpm",
            "samplerhub_samplers.ddpm:DDPM",
            "Ancestral sampling: the mean of the state at s given the state at t and the predicted data, and noise.",
        ),
        Entry(
            "sampler",
            "deis",
            "samplerhub_samplers.deis:DEIS",
            "Exponential integrator with polynomial extrapolation.",
            default=True,
        ),
        Entry(
            "sampler",
            "dormand-prince",
            "samplerhub_samplers.dormand_prince:DormandPrince",
            "Adaptive Runge-Kutta method of order 5 for the probability-flow ODE, each sample with steps of its own.",
        ),
        Entry(
            "sampler",
            "dpm-solver",
            "samplerhub_samplers.dpm_solver:DPMSolver",
            "Single-step exponential Runge-Kutta method for predicted noise: DPM-Solver-1, -2 and -3.",
        ),
        Entry(
            "sampler",
            "dpm-solver-adaptive",
            "samplerhub_samplers.dpm_solver_adaptive:DPMSolverAdaptive",
            "DPM-Solver with two orders in each step, whose difference chooses the steps of each sample.",
        ),
        Entry(
            "sampler",
            "dpm-solver-pp",
            "samplerhub_samplers.dpm_solver_pp:DPMSolverPP",
            "DPM-Solver++ in its multistep forms: first order, 2M and 3M.",
        ),
        Entry(
            "sampler",
            "dpm-solver-pp-sde",
            "samplerhub_samplers.dpm_solver_pp_sde:DPMSolverPPSDE",
            "SDE-DPM-Solver++ in its multistep forms: first order, 2M and 3M.",
        ),
        Entry(
            "sampler",
            "dpm-solver-pp-single",
            "samplerhub_samplers.dpm_solver_pp_single:DPMSolverPPSingle",
            "Single-step exponential Runge-Kutta method for predicted data: DPM-Solver++ 2S and 3S.",
        ),
        Entry(
            "sampler",
            "edm-stochastic",
            "samplerhub_samplers.edm_stochastic:EDMStochastic",
            "EDM's Algorithm 2: noise by its own S_churn, Heun's method, and a last Euler step to noise level 0.",
        ),
        Entry(
            "sampler",
            "euler",
            "samplerhub_samplers.euler:Euler",
            "Euler's method for the probability-flow ODE in the process's own time t.",
        ),
        Entry(
            "sampler",
            "euler-maruyama",
            "samplerhub_samplers.euler_maruyama:EulerMaruyama",
            "The Euler-Maruyama method for the reverse SDE, in the process's own time t or in rho^2.",
        ),
        Entry(
            "sampler",
            "exponential-adams",
            "samplerhub_samplers.exponential_adams:ExponentialAdams",
            "Exponential Adams-Bashforth method of any order, with an Adams-Moulton corrector at no cost.",
        ),
        Entry(
            "sampler",
            "exponential-sde",
            "samplerhub_samplers.exponential_sde:ExponentialSDE",
            "Exponential Euler method for the reverse SDE: one prediction held over a step, the noise exact.",
        ),
        Entry(
            "sampler",
            "gotta-go-fast",
            "samplerhub_samplers.gotta_go_fast:GottaGoFast",
            "Adaptive solver for the reverse SDE by a pair of orders 1 and 2, each sample with steps of its own.",
        ),
        Entry(
            "sampler",
            "heun",
            "samplerhub_samplers.heun:Heun",
            "Heun's second-order method in the noise level: an Euler step, then the mean of the slopes at both ends.",
        ),
        Entry(
            "sampler",
            "ipndm",
            "samplerhub_samplers.ipndm:IPNDM",
            "Adams-Bashforth weights of equal steps, applied to whatever steps the grid has.",
        ),
        Entry(
            "sampler",
            "ipndm-v",
            "samplerhub_samplers.ipndm:IPNDMV",
            "The Adams-Bashforth method in the noise level, with the weights of unequal steps.",
            aliases=("lms",),
        ),
        Entry(
            "sampler",
            "predictor-corrector",
            "samplerhub_samplers.predictor_corrector:PredictorCorrector",
            "Langevin steps at each noise level, then a step of the reverse SDE to the next.",
        ),
        Entry(
            "sampler",
            "restart",
            "samplerhub_samplers.restart:Restart",
            "Heun's method that goes back to more noise, and down again, several times in chosen intervals.",
        ),
        Entry(
            "sampler",
            "rk",
            "samplerhub_samplers.runge_kutta:RK",
            "Explicit Runge-Kutta methods: a tableau, in the variable of your choice.",
        ),
        Entry(
            "sampler",
            "sa-solver",
            "samplerhub_samplers.sa_solver:SASolver",
            "SA-Solver: stochastic Adams predictor and corrector for the reverse SDE.",
        ),
        Entry(
            "sampler",
            "seeds",
            "samplerhub_samplers.seeds:SEEDS",
            "Single-step exponential method for the reverse SDE, its noise shared by the stages: SEEDS-1, -2 and -3.",
        ),
        Entry(
            "sampler",
            "unipc",
            "samplerhub_samplers.unipc:UniPC",
            "UniPC: a predictor UniP-p and a corrector UniC-p that costs no evaluation.",
        ),
    ]
