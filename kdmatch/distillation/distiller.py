"""The model that trains a student: three losses, one custom train step."""

from typing import Any, get_args

import keras

from kdmatch.distillation.losses import exponential_scaling, grouped_hinge, masked_mse
from kdmatch.distillation.options import HardLoss, Scaling, SoftLoss, soft_by_query
from kdmatch.distillation.soft_losses import soft_loss
from kdmatch.distillation.targets import targets_of, weight_of
from kdmatch.models.matcher import with_logits


@keras.saving.register_keras_serializable("kdmatch")
class Distiller(keras.Model):
    """Trains a student on `L = α·soft + β·hard + γ·relevance`, exponentially scaled.

    | loss | is | reads |
    | --- | --- | --- |
    | soft | MSE of both logits, or one over rows of a query | `scores[soft_score]`, `group` |
    | hard | hinge over pairs of one query, pointwise MSE, or both | `label`, `group` |
    | relevance | MSE of the student's logits and the GBDT's scores | `scores[relevance_score]` |

    The teachers' scores come with the batch: no teacher is called, saved or
    held in memory. Calling the distiller calls the student, so `predict`,
    callbacks, saving and export see an ordinary Keras model. With
    `alpha=gamma=0` it trains on labels alone: so are teachers and controls.

    Pairs and lists of a query are formed within a batch. So rows of a query
    must come together: hand `fit` batches that hold several of each, as
    `kdmatch.data.batches.TrainingBatches` makes them, and `shuffle=False`.

    What `add_loss` and regularizers of the student ask for is added to `L`,
    unscaled. `compile` it without loss and metrics: scores are measured by
    `kdmatch.evaluation`, over whole queries.

    Args:
        student: Functional keras.Model, scores `(batch,)` or `(batch, 1)` out,
            with a layer named `logit` before the last tanh.
        alpha, beta, gamma: float. Weights of the three losses.
        margin: float. Threshold of the hinge.
        scaling: "exp" or "none".
        hard: "hinge", "pointwise" (MSE of logit and standardised label) or
            "both" (their sum).
        soft: "mse", or over rows of one query "margin_mse", "ranknet" or
            "listwise"; see `kdmatch.distillation.soft_losses`.
        temperature: float, positive. Of "ranknet" and "listwise".
        soft_score, relevance_score: str. Names of the teachers' scores.

    Call args of a batch (`fit`, `evaluate`):
        x: the student's inputs.
        y: `{"label", "group", "scores": {name: …}}`, each `(batch,)` or
            `(batch, 1)`; label and scores are standardised and NaN where there
            is none, group is any integer of the query. What no loss with a
            weight reads may be left out.
        sample_weight: float `(batch,)`, optional.

    Metrics:
        `loss`, `soft_loss`, `hard_loss`, `relevance_loss`, means over batches;
        0 for a part that the batches say nothing of.

    Raises:
        ValueError: if a weight is negative, a choice unknown, what a loss with
            a weight needs is not in the batch, or a column has another shape.

    Reference:
        Hinton et al., "Distilling the knowledge in a neural network", 2015;
        Tang et al., "Distilling task-specific knowledge from BERT into simple
        neural networks", 2019 (MSE of logits).
    """

    def __init__(
        self,
        student: keras.Model,
        alpha: float = 1.0,
        beta: float = 1.0,
        gamma: float = 1.0,
        margin: float = 0.7,
        scaling: Scaling = "exp",
        hard: HardLoss = "hinge",
        soft: SoftLoss = "mse",
        temperature: float = 1.0,
        soft_score: str = "teacher",
        relevance_score: str = "gbdt",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if min(alpha, beta, gamma) < 0:
            raise ValueError(f"loss weights must not be negative: {alpha=}, {beta=}, {gamma=}")
        if not max(alpha, beta, gamma):
            raise ValueError("alpha, beta and gamma are all 0: nothing to learn from; raise one")
        if scaling not in ("exp", "none"):
            raise ValueError(f"scaling is {scaling!r}; choose 'exp' or 'none'")
        if hard not in ("hinge", "pointwise", "both"):
            raise ValueError(f"hard is {hard!r}; choose 'hinge', 'pointwise' or 'both'")
        if soft not in get_args(SoftLoss):
            raise ValueError(f"soft is {soft!r}; choose one of {', '.join(get_args(SoftLoss))}")
        if temperature <= 0:
            raise ValueError(f"temperature is {temperature}; it must be positive")
        self.student = student
        self.alpha, self.beta, self.gamma = alpha, beta, gamma
        self.margin, self.scaling, self.hard = margin, scaling, hard
        self.soft, self.temperature = soft, temperature
        self.soft_score, self.relevance_score = soft_score, relevance_score
        self._outputs = with_logits(student)
        self._trackers = {
            name: keras.metrics.Mean(name=f"{name}_loss") for name in ("soft", "hard", "relevance")
        }
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return self.student(inputs, training=training)

    @property
    def soft_by_query(self) -> bool:
        """Whether the soft loss compares rows of one query, so that batches should hold some."""
        return soft_by_query(self.soft, self.alpha)

    @property
    def _needs(self) -> dict[str, str]:
        """What the losses with a weight read of a batch, and which does."""
        needs = {}
        if self.beta:
            needs["label"] = "hard"
            needs |= {"group": "hard"} if self.hard in ("hinge", "both") else {}
        needs |= {"group": "soft"} if self.soft_by_query else {}
        needs |= {self.soft_score: "soft"} if self.alpha else {}
        return needs | ({self.relevance_score: "relevance"} if self.gamma else {})

    def losses_of(self, outputs: dict[str, Any], y: dict[str, Any], weight: Any) -> dict[str, Any]:
        """The unweighted components of a batch: `soft`, `hard`, `relevance`, where it has them.

        Args:
            outputs: `{"logit", "score"}` of the student, each `(batch,)`.
            y: as `targets_of` makes it.
            weight: float `(batch,)`.
        """
        logit, score = outputs["logit"], outputs["score"]
        label, group = y["label"], y["group"]
        parts = {}
        if self.soft_score in y["scores"] and (group is not None or self.soft == "mse"):
            target = y["scores"][self.soft_score]
            parts["soft"] = soft_loss(self.soft)(logit, target, group, weight, self.temperature)
        if self.relevance_score in y["scores"]:
            parts["relevance"] = masked_mse(logit, y["scores"][self.relevance_score], weight)
        hinge = self.hard in ("hinge", "both")
        if label is not None and (group is not None or not hinge):
            parts["hard"] = (
                grouped_hinge(score, label, group, weight, self.margin) if hinge else 0.0
            )
            if self.hard in ("pointwise", "both"):
                parts["hard"] += masked_mse(logit, label, weight)
        return parts

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Combined, scaled loss; `y_pred` is `{"logit", "score"}` or None to run the student."""
        if not isinstance(y_pred, dict):
            y_pred = self._outputs(x, training=training)
        weight = weight_of(sample_weight, y_pred["logit"])
        parts = self.losses_of(y_pred, targets_of(y, y_pred["logit"], self._needs), weight)
        for name, value in parts.items():
            self._trackers[name].update_state(value)
        factors = {"soft": self.alpha, "hard": self.beta, "relevance": self.gamma}
        loss = sum(factors[name] * value for name, value in parts.items() if factors[name])
        if self.scaling == "exp":
            loss = exponential_scaling(loss)
        return sum(self.losses, loss)

    def train_step(self, *args: Any) -> Any:
        """One update, on the TensorFlow and on the JAX backend."""
        return self._of_the_backend(self._train_step_tensorflow, self._train_step_jax)(*args)

    def test_step(self, *args: Any) -> Any:
        """The losses of one batch, on the TensorFlow and on the JAX backend."""
        return self._of_the_backend(self._test_step_tensorflow, self._test_step_jax)(*args)

    @staticmethod
    def _of_the_backend(tensorflow: Any, jax: Any) -> Any:
        backend = keras.backend.backend()
        if backend not in ("tensorflow", "jax"):
            raise NotImplementedError(
                f"Distiller trains on TensorFlow and on JAX, not on {backend}; set KERAS_BACKEND"
            )
        return jax if backend == "jax" else tensorflow

    def _measured(self, data: Any, training: bool) -> tuple[Any, dict[str, Any]]:
        """A batch's loss, and the means up to it.

        Raises:
            ValueError: if losses or metrics were compiled.
        """
        # Not in `compile`: Keras saves no optimizer of a model that overrides it.
        if self._compile_loss is not None or self._compile_metrics is not None:
            raise ValueError(
                "a Distiller is compiled without loss and metrics: its losses are its own, and "
                "scores are measured over whole queries, by kdmatch.evaluation.evaluate_scores"
            )
        x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
        loss = self.compute_loss(x, y, self._outputs(x, training=training), weight, training)
        self._loss_tracker.update_state(loss)
        return loss, self.get_metrics_result()

    def _train_step_tensorflow(self, data: Any) -> dict[str, Any]:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            loss, results = self._measured(data, training=True)
            replicas = tf.distribute.get_strategy().num_replicas_in_sync
            scaled = self.optimizer.scale_loss(loss / replicas)
        gradients = tape.gradient(scaled, self.trainable_weights)
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
        return results

    def _test_step_tensorflow(self, data: Any) -> dict[str, Any]:
        return self._measured(data, training=False)[1]

    def _train_step_jax(self, state: Any, data: Any) -> Any:
        import jax

        trainable, fixed, optimizer, metrics = state

        def objective(trainable: Any) -> Any:
            loss, *others = self._stateless(trainable, fixed, metrics, data, training=True)
            return self.optimizer.scale_loss(loss), others

        gradients, (results, fixed, metrics) = jax.grad(objective, has_aux=True)(trainable)
        trainable, optimizer = self.optimizer.stateless_apply(optimizer, gradients, trainable)
        return results, (trainable, fixed, optimizer, metrics)

    def _test_step_jax(self, state: Any, data: Any) -> Any:
        trainable, fixed, metrics = state
        measured = self._stateless(trainable, fixed, metrics, data, training=False)
        _, results, fixed, metrics = measured
        return results, (trainable, fixed, metrics)

    def _stateless(
        self, trainable: Any, fixed: Any, metrics: Any, data: Any, training: bool
    ) -> tuple[Any, Any, list[Any], list[Any]]:
        """`_measured` with the variables' values given, and those of the last two after it."""
        mapping = [
            *zip(self.trainable_variables, trainable, strict=True),
            *zip(self.non_trainable_variables, fixed, strict=True),
            *zip(self.metrics_variables, metrics, strict=True),
        ]
        with keras.StatelessScope(mapping) as scope:
            loss, results = self._measured(data, training)
        return (
            loss,
            results,
            [_current(scope, variable) for variable in self.non_trainable_variables],
            [_current(scope, variable) for variable in self.metrics_variables],
        )

    def export(self, *args: Any, **kwargs: Any) -> None:
        """`keras.Model.export` of the student."""
        self.student.export(*args, **kwargs)

    def get_config(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "student": keras.saving.serialize_keras_object(self.student),
            "alpha": self.alpha,
            "beta": self.beta,
            "gamma": self.gamma,
            "margin": self.margin,
            "scaling": self.scaling,
            "hard": self.hard,
            "soft": self.soft,
            "temperature": self.temperature,
            "soft_score": self.soft_score,
            "relevance_score": self.relevance_score,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> "Distiller":
        student = keras.saving.deserialize_keras_object(config["student"], custom_objects)
        return cls(**{**config, "student": student})


def _current(scope: Any, variable: Any) -> Any:
    value = scope.get_current_value(variable)
    return variable.value if value is None else value
